//! `--equip` on the command line.

use dora_harness::topology::Equipment;

/// The smallest data directory that a database starts on, in MiB.
const DISK_MIB_MIN: u64 = 32;

/// `NODE=WHAT,…`, such as `pg1=disk:512,clock`.
pub fn equipment(text: &str) -> Result<(String, Equipment), String> {
    let usage = || "write NODE=WHAT,… with disk:MIB, clock, fsync or power, such as pg1=disk:512,clock".to_owned();
    let (node, words) = text.split_once('=').filter(|(node, _)| !node.is_empty()).ok_or_else(usage)?;
    let mut equipment = Equipment::default();
    for word in words.split(',') {
        match word.split_once(':') {
            Some(("disk", size)) => {
                let mib = size.parse::<u64>().ok().filter(|mib| (DISK_MIB_MIN..=1 << 20).contains(mib));
                let mib = mib.ok_or_else(|| format!("a data directory has at least {DISK_MIB_MIN} MiB"))?;
                equipment.data_bytes_max = Some(mib << 20);
            }
            None if word == "clock" => equipment.clock = true,
            None if word == "fsync" => equipment.disk_faults = true,
            None if word == "power" => equipment.power = true,
            _ => return Err(usage()),
        }
    }
    Ok((node.to_owned(), equipment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equipment_is_read() {
        let wanted = Equipment { data_bytes_max: Some(512 << 20), clock: true, ..Equipment::default() };
        assert_eq!(equipment("pg1=disk:512,clock"), Ok(("pg1".into(), wanted)));
        for text in ["pg1", "=clock", "pg1=", "pg1=disk", "pg1=disk:1", "pg1=wings"] {
            assert!(equipment(text).is_err(), "{text}");
        }
    }
}
