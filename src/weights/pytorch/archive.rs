//! Where the entries of a zip archive lie, as `torch.save` writes one: nothing compressed, nothing overlapping.
//!
//! Source: PKWARE's APPNOTE.TXT, 4.3. The record at the end of the file says where the central directory is (a zip64 record before
//! it does where a number takes more than 32 bits); each entry of the directory says where its header is, and behind the header are
//! its bytes. Every range is checked to lie in the file, before the directory, and apart from all others.

use std::collections::BTreeMap;
use std::ops::Range;

/// The entries of an archive by name.
pub(super) struct ZipArchive<'a>(BTreeMap<&'a str, Range<usize>>);

const CENTRAL: &[u8] = b"PK\x01\x02";
const LOCAL: &[u8] = b"PK\x03\x04";
const END: &[u8] = b"PK\x05\x06";
const END64: &[u8] = b"PK\x06\x06";
const END64_LOCATOR: &[u8] = b"PK\x06\x07";
/// Stands for a number that is in a zip64 field instead.
const IN_ZIP64_FIELD: usize = u32::MAX as usize;

impl<'a> ZipArchive<'a> {
    /// Reads the directory at the end of `file`.
    pub(super) fn read(file: &'a [u8]) -> Result<Self, String> {
        let directory = directory(file).ok_or("is no whole zip archive: truncated?")?;
        let (mut entries, mut taken) = (BTreeMap::new(), Vec::new());
        let mut at = directory.start;
        while at < directory.end {
            let entry = ZipEntry::read(file, &mut at).ok_or("its zip directory is damaged")?;
            let ZipEntry { name, packed, bytes, header, .. } = entry;
            if entry.method != 0 || packed != bytes || entry.encrypted {
                return Err(format!(
                    "its entry {name:?} is compressed or encrypted, as in a TorchScript program and never by torch.save"
                ));
            }
            let data = data_of(file, &entry)
                .filter(|data| data.end <= directory.start)
                .ok_or_else(|| format!("its entry {name:?} is not where its zip directory says"))?;
            taken.push((header..data.end, name));
            if entries.insert(name, data).is_some() {
                return Err(format!("two of its entries are named {name:?}"));
            }
        }
        taken.sort_unstable_by_key(|(range, _)| range.start);
        match taken.windows(2).find(|two| two[0].0.end > two[1].0.start) {
            Some(two) => Err(format!("its entries {:?} and {:?} overlap", two[0].1, two[1].1)),
            None => Ok(Self(entries)),
        }
    }

    /// Where the bytes of the entry `name` are in the file.
    pub(super) fn entry(&self, name: &str) -> Option<Range<usize>> {
        self.0.get(name).cloned()
    }

    /// The folder that holds all entries of a checkpoint: that of the only `data.pkl` which lies in a folder of the root.
    pub(super) fn root(&self) -> Option<&'a str> {
        let mut roots =
            self.0.keys().filter_map(|name| name.strip_suffix("/data.pkl")).filter(|root| !root.contains('/'));
        roots.next().filter(|_| roots.next().is_none())
    }
}

/// One entry of the directory.
struct ZipEntry<'a> {
    name: &'a str,
    method: usize,
    encrypted: bool,
    packed: usize,
    bytes: usize,
    /// Where the header before its data starts.
    header: usize,
}

impl<'a> ZipEntry<'a> {
    /// Reads the entry at `at`, and moves `at` behind it.
    fn read(file: &'a [u8], at: &mut usize) -> Option<Self> {
        let fixed = part(file, *at, 46)?;
        let lengths = [28, 30, 32].map(|field| number(fixed, field, 2));
        let [name, extra, comment] = lengths.map(Option::unwrap_or_default);
        let mut extras = part(file, *at + 46 + name, extra)?;
        let mut entry = Self {
            name: str::from_utf8(part(file, *at + 46, name)?).ok()?,
            method: number(fixed, 10, 2)?,
            encrypted: number(fixed, 8, 2)? & 1 != 0,
            packed: number(fixed, 20, 4)?,
            bytes: number(fixed, 24, 4)?,
            header: number(fixed, 42, 4)?,
        };
        while entry.is_beyond_32_bits() && !extras.is_empty() {
            let (id, length) = (number(extras, 0, 2)?, number(extras, 2, 2)?);
            let field = part(extras, 4, length)?;
            if id == 1 {
                let wide = [&mut entry.bytes, &mut entry.packed, &mut entry.header];
                for (i, value) in wide.into_iter().filter(|value| **value == IN_ZIP64_FIELD).enumerate() {
                    *value = number(field, 8 * i, 8)?;
                }
                break;
            }
            extras = &extras[4 + length..];
        }
        *at += 46 + name + extra + comment;
        (fixed.starts_with(CENTRAL)).then_some(entry)
    }

    fn is_beyond_32_bits(&self) -> bool {
        [self.packed, self.bytes, self.header].contains(&IN_ZIP64_FIELD)
    }
}

/// Where the data of `entry` is, behind a header that must name it.
fn data_of(file: &[u8], entry: &ZipEntry) -> Option<Range<usize>> {
    let fixed = part(file, entry.header, 30)?;
    let (name, extra) = (number(fixed, 26, 2)?, number(fixed, 28, 2)?);
    let start = entry.header.checked_add(30)?;
    let is_named = fixed.starts_with(LOCAL) && part(file, start, name)? == entry.name.as_bytes();
    let start = start.checked_add(name + extra)?;
    let data = start..start.checked_add(entry.bytes)?;
    (is_named && data.end <= file.len()).then_some(data)
}

/// Where the directory is, by the record that ends the file.
fn directory(file: &[u8]) -> Option<Range<usize>> {
    let end = file.len().checked_sub(22)?;
    let fixed = part(file, end, 22)?;
    let (mut bytes, mut start) = (number(fixed, 12, 4)?, number(fixed, 16, 4)?);
    let mut limit = end;
    if bytes == IN_ZIP64_FIELD || start == IN_ZIP64_FIELD || number(fixed, 10, 2)? == usize::from(u16::MAX) {
        let locator = part(file, end.checked_sub(20)?, 20)?;
        limit = number(locator, 8, 8)?;
        let wide = part(file, limit, 56)?;
        (bytes, start) = (number(wide, 40, 8)?, number(wide, 48, 8)?);
        if !locator.starts_with(END64_LOCATOR) || !wide.starts_with(END64) {
            return None;
        }
    }
    let directory = start..start.checked_add(bytes)?;
    (fixed.starts_with(END) && directory.end <= limit).then_some(directory)
}

fn part(bytes: &[u8], start: usize, length: usize) -> Option<&[u8]> {
    bytes.get(start..start.checked_add(length)?)
}

/// The little-endian number of `width` bytes at `start`.
fn number(bytes: &[u8], start: usize, width: usize) -> Option<usize> {
    let value = part(bytes, start, width)?.iter().rev().fold(0_u64, |value, &byte| value << 8 | u64::from(byte));
    usize::try_from(value).ok()
}
