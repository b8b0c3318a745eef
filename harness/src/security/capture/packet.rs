//! The classic file format of libpcap with link type `LINUX_SLL2`, as `config/capture/capture.pl` writes it.

use std::net::{Ipv4Addr, SocketAddrV4};

/// In this machine's byte order.
const MAGIC: u32 = 0xa1b2_c3d4;
const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;
const LINK_HEADER: usize = 20;
/// `ARPHRD_LOOPBACK` of `linux/if_arp.h`.
const LOOPBACK: u16 = 772;
const IPV4: u16 = 0x0800;
const TCP: u8 = 6;

/// A packet of any protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Whether it is on the loopback interface, which it never leaves.
    pub is_loopback: bool,
    /// What follows the link's header, as it was on the wire.
    pub bytes: Vec<u8>,
    /// What TCP over IPv4 says, where it is that.
    pub segment: Option<Segment>,
}

/// A TCP segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Who sent it.
    pub from: SocketAddrV4,
    /// To whom.
    pub to: SocketAddrV4,
    /// The sequence number of its first byte.
    pub sequence: u32,
    /// Where its data begin in the packet.
    data_start: usize,
    /// Where they end: a short packet is padded on some links.
    data_end: usize,
}

impl Packet {
    /// The data of its segment.
    pub fn data(&self) -> &[u8] {
        self.segment.and_then(|segment| self.bytes.get(segment.data_start..segment.data_end)).unwrap_or_default()
    }
}

/// Reads a whole file.
///
/// # Errors
/// What is not as the format says; a record that is cut off at the end, too.
pub fn read_packets(file: &[u8]) -> Result<Vec<Packet>, String> {
    let word = |at: usize| file.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes);
    if word(0) != Some(MAGIC) {
        return Err("it is no capture".to_owned());
    }
    let mut packets = Vec::new();
    let mut at = FILE_HEADER;
    while at < file.len() {
        let length = word(at + 8).ok_or("a record is cut off")? as usize;
        let record = file.get(at + RECORD_HEADER..at + RECORD_HEADER + length).ok_or("a record is cut off")?;
        packets.push(packet(record).ok_or("a record is too short")?);
        at += RECORD_HEADER + length;
    }
    Ok(packets)
}

fn packet(record: &[u8]) -> Option<Packet> {
    let protocol = u16::from_be_bytes(record.get(..2)?.try_into().ok()?);
    let hardware = u16::from_be_bytes(record.get(8..10)?.try_into().ok()?);
    let bytes = record.get(LINK_HEADER..)?.to_vec();
    let segment = if protocol == IPV4 { segment(&bytes) } else { None };
    Some(Packet { is_loopback: hardware == LOOPBACK, bytes, segment })
}

/// RFC 791 and RFC 9293.
fn segment(bytes: &[u8]) -> Option<Segment> {
    let ip_header = usize::from(bytes.first()? & 0x0f) * 4;
    if bytes.get(9) != Some(&TCP) {
        return None;
    }
    let stated = usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?));
    // A packet that the kernel has put together from several may be longer than the field can say: then it states 0.
    let end = if stated == 0 { bytes.len() } else { stated.min(bytes.len()) };
    let address = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok()?));
    let port = |at: usize| Some(u16::from_be_bytes(bytes.get(ip_header + at..ip_header + at + 2)?.try_into().ok()?));
    let sequence = u32::from_be_bytes(bytes.get(ip_header + 4..ip_header + 8)?.try_into().ok()?);
    let data_start = ip_header + usize::from(bytes.get(ip_header + 12)? >> 4) * 4;
    Some(Segment {
        from: SocketAddrV4::new(address(12)?, port(0)?),
        to: SocketAddrV4::new(address(16)?, port(2)?),
        sequence,
        data_start: data_start.min(end),
        data_end: end,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A packet as it comes out of a file.
    pub fn tcp(from: &str, to: &str, sequence: u32, data: &[u8]) -> Packet {
        let mut record = vec![0x08, 0x00, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6];
        record.extend([0; 8]);
        record.extend(ip(from.parse().unwrap(), to.parse().unwrap(), sequence, data));
        packet(&record).unwrap()
    }

    fn ip(from: SocketAddrV4, to: SocketAddrV4, sequence: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x45, 0];
        bytes.extend((40 + data.len() as u16).to_be_bytes());
        bytes.extend([0, 0, 0, 0, 64, TCP, 0, 0]);
        bytes.extend(from.ip().octets());
        bytes.extend(to.ip().octets());
        bytes.extend(from.port().to_be_bytes());
        bytes.extend(to.port().to_be_bytes());
        bytes.extend(sequence.to_be_bytes());
        bytes.extend([0, 0, 0, 0, 0x50, 0x18, 0, 0, 0, 0, 0, 0]);
        bytes.extend(data);
        bytes
    }

    #[test]
    fn a_segment_is_found_in_a_file() {
        let mut record = vec![0x08, 0x00, 0, 0, 0, 0, 0, 1, 0x03, 0x04, 0, 6];
        record.extend([0; 8]);
        record.extend(ip("127.0.0.1:40000".parse().unwrap(), "127.0.0.1:5000".parse().unwrap(), 7, b"hello"));
        let mut file = MAGIC.to_ne_bytes().to_vec();
        file.extend([0; 20]);
        file.extend([0; 8]);
        file.extend((record.len() as u32).to_ne_bytes());
        file.extend((record.len() as u32).to_ne_bytes());
        file.extend(&record);
        let packets = read_packets(&file).unwrap();
        assert_eq!(packets.len(), 1);
        assert!(packets[0].is_loopback);
        assert_eq!(packets[0].data(), b"hello");
        assert_eq!(packets[0].segment.unwrap().to.port(), 5000);
        assert!(read_packets(&file[..file.len() - 1]).is_err(), "a file that is cut off is no evidence");
        assert!(read_packets(b"nonsense").is_err());
    }
}
