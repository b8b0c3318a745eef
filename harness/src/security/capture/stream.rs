//! TCP streams put together from their segments, and whether they are made of TLS records.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddrV4,
};

use super::Packet;

/// The header of a TLS record (RFC 8446, section 5.1): type, version, length.
const RECORD_HEADER: usize = 5;
/// Most that a record of TLS 1.2 may hold, which is more than one of 1.3.
const RECORD_MAX: usize = (1 << 14) + 2048;
/// Places at which the first record of a stream is looked for, when the capture began in the middle of it.
const STARTS_MAX: usize = 200;
/// Fewer data than this say nothing.
const TELLING: usize = 16;
/// `PostgreSQL`'s `SSLRequest` and the answer to it.
const SSL_REQUEST: &[u8] = b"\x00\x00\x00\x08\x04\xd2\x16\x2f";

/// TLS 1.3 as it stands in a handshake (RFC 8446, section 4.2.1).
pub const TLS_1_3: u16 = 0x0304;
/// The types of a record and of a message, and the number of an extension, that tell which version a server chose.
const HANDSHAKE: u8 = 22;
const SERVER_HELLO: u8 = 2;
const SUPPORTED_VERSIONS: u16 = 43;

/// What a stream is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Framing {
    /// Too little to tell.
    Unknown,
    /// TLS records from the first one on to the end.
    Tls,
    /// Something else.
    Other,
}

/// One direction of a connection, as far as it was captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Who sends.
    pub from: SocketAddrV4,
    /// To whom.
    pub to: SocketAddrV4,
    /// Whether it is on the loopback interface.
    pub is_loopback: bool,
    /// Segments that carried data, repeated ones included.
    pub segments: u64,
    /// Stretches of the stream without a gap: the bytes, and where in them segments begin.
    pub pieces: Vec<(Vec<u8>, Vec<usize>)>,
}

/// A segment's sequence number and data.
type Numbered<'a> = (u32, &'a [u8]);

/// All streams that carried data.
pub fn streams(packets: &[Packet]) -> Vec<Stream> {
    let mut segments: BTreeMap<(bool, SocketAddrV4, SocketAddrV4), Vec<Numbered<'_>>> = BTreeMap::new();
    for packet in packets {
        if let Some(segment) = packet.segment
            && !packet.data().is_empty()
        {
            segments.entry((packet.is_loopback, segment.from, segment.to)).or_default().push((segment.sequence, packet.data()));
        }
    }
    let stream = |((is_loopback, from, to), segments): (_, Vec<Numbered<'_>>)| Stream {
        from,
        to,
        is_loopback,
        segments: segments.len() as u64,
        pieces: pieces(segments),
    };
    segments.into_iter().map(stream).collect()
}

/// Sorts segments by their distance from the first one seen, leaves out what was sent twice and begins a new piece at each gap.
fn pieces(mut segments: Vec<Numbered<'_>>) -> Vec<(Vec<u8>, Vec<usize>)> {
    let origin = segments[0].0;
    let distance = |sequence: u32| i64::from(sequence.wrapping_sub(origin).cast_signed());
    segments.sort_by_key(|(sequence, _)| distance(*sequence));
    let mut pieces: Vec<(Vec<u8>, Vec<usize>)> = Vec::new();
    let mut next = i64::MIN;
    for (sequence, data) in segments {
        let at = distance(sequence);
        if at > next || pieces.is_empty() {
            pieces.push((Vec::new(), Vec::new()));
            next = at;
        }
        let known = usize::try_from(next - at).unwrap_or_default();
        if let (Some((bytes, starts)), Some(fresh)) = (pieces.last_mut(), data.get(known..).filter(|fresh| !fresh.is_empty())) {
            starts.push(bytes.len());
            bytes.extend_from_slice(fresh);
            next += i64::try_from(fresh.len()).unwrap_or(i64::MAX);
        }
    }
    pieces
}

impl Stream {
    /// Whether it is made of TLS records; one piece that is not decides.
    pub fn framing(&self) -> Framing {
        self.pieces.iter().map(|(bytes, starts)| framing(bytes, starts)).max().unwrap_or(Framing::Unknown)
    }

    /// The versions that a server chose in the handshakes of this direction, as they stand on the wire ([`TLS_1_3`]). None when no
    /// handshake was captured, as on a connection that was there before.
    pub fn chosen_versions(&self) -> BTreeSet<u16> {
        let begins = |(bytes, starts): &(Vec<u8>, Vec<usize>)| -> Vec<u16> {
            starts.iter().filter_map(|start| chosen_version(&bytes[*start..])).collect()
        };
        self.pieces.iter().flat_map(begins).collect()
    }
}

/// A capture may begin in the middle of a record, but most segments begin with one: the first beginning from which one record follows
/// the other up to the end decides.
fn framing(bytes: &[u8], starts: &[usize]) -> Framing {
    let after_request =
        [bytes.strip_prefix(SSL_REQUEST), bytes.strip_prefix(b"S")].into_iter().flatten().map(|rest| bytes.len() - rest.len());
    let mut telling = bytes.len() >= TELLING;
    for start in after_request.chain(starts.iter().copied()).take(STARTS_MAX) {
        match records(&bytes[start..]) {
            Framing::Tls => return Framing::Tls,
            Framing::Unknown => telling = false,
            Framing::Other => {}
        }
    }
    if telling { Framing::Other } else { Framing::Unknown }
}

fn records(mut bytes: &[u8]) -> Framing {
    let mut whole = 0;
    while let Some(header) = bytes.get(..RECORD_HEADER) {
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        // Change of cipher, alert, handshake, data; versions 3.1 to 3.4 (1.3 writes 3.3 or, first of all, 3.1).
        if !(20..=23).contains(&header[0]) || header[1] != 3 || !(1..=4).contains(&header[2]) || length > RECORD_MAX || length == 0 {
            return Framing::Other;
        }
        match bytes.get(RECORD_HEADER + length..) {
            Some(rest) => {
                whole += 1;
                bytes = rest;
            }
            // The capture ended in the middle of it.
            None => break,
        }
    }
    if whole > 0 { Framing::Tls } else { Framing::Unknown }
}

/// The version in a `ServerHello` that begins here: that of its extension, or of its old field where it has none (RFC 8446, sections
/// 4.1.3 and 4.2.1).
fn chosen_version(bytes: &[u8]) -> Option<u16> {
    let short = |bytes: &[u8], at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    if bytes.first() != Some(&HANDSHAKE) || bytes.get(1) != Some(&3) || bytes.get(RECORD_HEADER) != Some(&SERVER_HELLO) {
        return None;
    }
    let record = bytes.get(RECORD_HEADER..RECORD_HEADER + usize::from(short(bytes, 3)?))?;
    let hello = record.get(4..)?;
    let old_field = short(hello, 0)?;
    // Version, 32 bytes of random, the session's identifier with its length, suite, compression.
    let mut at = 35 + usize::from(*hello.get(34)?) + 3;
    let end = at + 2 + usize::from(short(hello, at).unwrap_or_default());
    at += 2;
    while at + 4 <= end {
        let (extension, length) = (short(hello, at)?, usize::from(short(hello, at + 2)?));
        if extension == SUPPORTED_VERSIONS {
            return short(hello, at + 4);
        }
        at += 4 + length;
    }
    Some(old_field)
}

#[cfg(test)]
mod tests {
    use super::{super::packet::tests::tcp, *};

    fn record(data: &[u8]) -> Vec<u8> {
        [&[23, 3, 3][..], &(data.len() as u16).to_be_bytes(), data].concat()
    }

    fn only(packets: &[Packet]) -> Stream {
        let mut all = streams(packets);
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    #[test]
    fn segments_are_put_in_order_and_counted_once() {
        let send = |sequence, data: &[u8]| tcp("10.0.0.1:5", "10.0.0.2:6", sequence, data);
        let stream = only(&[send(u32::MAX - 1, b"abcd"), send(6, b"gh"), send(2, b"cdef"), send(2, b"cdef"), send(100, b"later")]);
        let bytes: Vec<&[u8]> = stream.pieces.iter().map(|(bytes, _)| bytes.as_slice()).collect();
        assert_eq!(bytes, [b"abcdcdefgh".as_slice(), b"later"]);
        assert_eq!(stream.segments, 5);
    }

    #[test]
    fn records_are_told_from_other_data() {
        let send = |sequence, data: &[u8]| tcp("10.0.0.1:5", "10.0.0.2:6", sequence, data);
        let first = record(b"one whole record of ciphertext");
        let second = record(b"another one");
        let in_the_middle = [&b"rest of a record before"[..], &second].concat();
        assert_eq!(only(&[send(0, &first), send(first.len() as u32, &second)]).framing(), Framing::Tls);
        assert_eq!(only(&[send(0, b"rest of a record before"), send(23, &second)]).framing(), Framing::Tls);
        assert_eq!(only(&[send(0, &in_the_middle)]).framing(), Framing::Other, "no segment begins with a record");
        assert_eq!(only(&[send(0, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n")]).framing(), Framing::Other);
        assert_eq!(only(&[send(0, b"short")]).framing(), Framing::Unknown);
        let asked = [SSL_REQUEST, &first].concat();
        assert_eq!(only(&[send(0, &asked[..8]), send(8, &asked[8..])]).framing(), Framing::Tls);
    }

    #[test]
    fn plaintext_after_records_is_noticed() {
        let send = |sequence, data: &[u8]| tcp("10.0.0.1:5", "10.0.0.2:6", sequence, data);
        let first = record(b"one whole record of ciphertext");
        assert_eq!(only(&[send(0, &first), send(first.len() as u32, b"GET / HTTP/1.1\r\n\r\n")]).framing(), Framing::Other);
    }

    fn server_hello(extensions: &[u8]) -> Vec<u8> {
        let session = [&[32][..], &[7; 32]].concat();
        let length = (extensions.len() as u16).to_be_bytes();
        let hello = [&[3, 3][..], &[9; 32], &session, &[0x13, 0x02, 0], &length, extensions].concat();
        let message = [&[SERVER_HELLO, 0, 0, hello.len() as u8][..], &hello].concat();
        [&[HANDSHAKE, 3, 3][..], &(message.len() as u16).to_be_bytes(), &message].concat()
    }

    #[test]
    fn the_version_that_a_server_chose_is_read_from_its_hello() {
        let answers = |hello: &[u8]| {
            let from = |sequence, data: &[u8]| tcp("10.0.0.2:6", "10.0.0.1:5", sequence, data);
            only(&[from(0, b"S"), from(1, &hello[..40]), from(41, &hello[40..])]).chosen_versions()
        };
        let key_share = [0, 51, 0, 2, 0, 29];
        let new = [&key_share[..], &[0, 43, 0, 2, 3, 4]].concat();
        assert_eq!(answers(&server_hello(&new)), [TLS_1_3].into());
        assert_eq!(answers(&server_hello(&key_share)), [0x0303].into(), "without the extension it is the old field");
        assert_eq!(answers(&record(&[2; 60])), [].into(), "data of an established connection");
    }
}
