//! Columns of values of any number of bytes: which of them are equal to, below, or hold some bytes; and copies of some.

use std::collections::HashSet;

use memchr::memmem;

use crate::memory::{with_room, zeroed};
use crate::{Error, Result};

/// Values in one buffer, the first of which may begin anywhere in it.
#[derive(Clone, Copy)]
pub struct ByteColumn<'a> {
    /// Where each value begins, and where the last ends. Read from files: checked wherever they are used.
    offsets: &'a [i64],
    data: &'a [u8],
}

/// How a value is compared with given bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ByteComparison {
    Equal,
    Less,
    LessOrEqual,
}

impl<'a> ByteColumn<'a> {
    /// # Errors
    /// If there is no offset.
    pub fn new(offsets: &'a [i64], data: &'a [u8]) -> Result<Self> {
        if offsets.is_empty() {
            return Err(Error::argument("offsets", "expected one more than values, found none"));
        }
        Ok(Self { offsets, data })
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// # Errors
    /// If offsets do not ascend, or are outside of the bytes.
    pub fn value(&self, i: usize) -> Result<&'a [u8]> {
        self.piece(self.offsets[i], self.offsets[i + 1]).ok_or_else(|| self.refusal(i))
    }

    fn piece(&self, begin: i64, end: i64) -> Option<&'a [u8]> {
        self.data.get(usize::try_from(begin).ok()?..usize::try_from(end).ok()?)
    }

    fn refusal(&self, i: usize) -> Error {
        let [begin, end] = [self.offsets[i], self.offsets[i + 1]];
        Error::argument("offsets", format!("value {i} goes from {begin} to {end} of {} bytes", self.data.len()))
    }

    /// For each value what `test` says of it, 1 or 0.
    fn test(&self, test: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>> {
        let mut found = zeroed(self.len(), "a filter")?;
        for (i, (bounds, found)) in self.offsets.windows(2).zip(&mut found).enumerate() {
            let value = self.piece(bounds[0], bounds[1]).ok_or_else(|| self.refusal(i))?;
            *found = u8::from(test(value));
        }
        Ok(found)
    }

    /// 1 for each value that is so to `bytes`, in the order of bytes; 0 for others.
    ///
    /// # Errors
    /// As [`Self::value`], as do the others.
    pub fn compare(&self, comparison: ByteComparison, bytes: &[u8]) -> Result<Vec<u8>> {
        match comparison {
            ByteComparison::Equal => self.test(|value| value == bytes),
            ByteComparison::Less => self.test(|value| value < bytes),
            ByteComparison::LessOrEqual => self.test(|value| value <= bytes),
        }
    }

    /// 1 for each value that is one of these.
    pub fn is_in(&self, values: ByteColumn) -> Result<Vec<u8>> {
        let values: HashSet<&[u8]> = (0..values.len()).map(|i| values.value(i)).collect::<Result<_>>()?;
        // Most values need no hash.
        const LENGTHS: usize = 64;
        let mut lengths = [false; LENGTHS];
        values.iter().for_each(|value| lengths[value.len().min(LENGTHS - 1)] = true);
        self.test(|value| lengths[value.len().min(LENGTHS - 1)] && values.contains(value))
    }

    /// 1 for each value that has `bytes` within it.
    ///
    /// All values are searched at once, since a search costs more to begin than to go on. What is found across the end of
    /// a value is none, nor is what follows in that value, which is shorter still.
    pub fn contain(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        if let Some(i) = (0..self.len()).find(|&i| self.offsets[i] > self.offsets[i + 1]) {
            return Err(self.refusal(i));
        }
        let [first, last] = [self.offsets[0], self.offsets[self.len()]];
        let all = self.piece(first, last).ok_or_else(|| match self.len() {
            0 => Error::argument("offsets", format!("{first} is outside of {} bytes", self.data.len())),
            _ if first < 0 => self.refusal(0),
            len => self.refusal(len - 1),
        })?;
        let mut found = zeroed(self.len(), "a filter")?;
        if bytes.is_empty() {
            found.fill(1);
            return Ok(found);
        }
        let finder = memmem::Finder::new(bytes);
        // Ascending offsets from `first` to `last` are within the bytes.
        let (mut i, mut begin) = (0, 0);
        while let Some(at) = finder.find(&all[begin..]) {
            let at = first + (begin + at) as i64;
            i += self.offsets[i + 1..].partition_point(|&end| end <= at);
            let end = self.offsets[i + 1];
            found[i] = u8::from(at + bytes.len() as i64 <= end);
            begin = (end - first) as usize;
        }
        Ok(found)
    }

    /// Copies of some values in the order asked for: offsets from 0 on, and bytes.
    ///
    /// # Errors
    /// If a row is not there, too.
    pub fn take(&self, rows: &[i64]) -> Result<(Vec<i64>, Vec<u8>)> {
        let value = |row: i64| match usize::try_from(row) {
            Ok(i) if i < self.len() => self.value(i),
            _ => Err(Error::argument("rows", format!("{row} is not one of {} values", self.len()))),
        };
        let mut offsets = with_room(rows.len() + 1, "offsets")?;
        let mut end = 0_i64;
        offsets.push(end);
        for &row in rows {
            end += value(row)?.len() as i64;
            offsets.push(end);
        }
        let mut data = with_room(end as usize, "values of a column")?;
        for &row in rows {
            data.extend_from_slice(value(row)?);
        }
        Ok((offsets, data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &str = "xéabab, abba?";

    /// Values of all lengths, empty ones among them, that begin behind the first byte.
    fn ragged() -> (Vec<i64>, Vec<&'static [u8]>) {
        let offsets = vec![1, 1, 3, 4, 7, 7, 12, 14];
        let values = offsets.windows(2).map(|pair| &DATA.as_bytes()[pair[0] as usize..pair[1] as usize]).collect();
        (offsets, values)
    }

    fn ones(test: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        ragged().1.into_iter().map(|value| u8::from(test(value))).collect()
    }

    #[test]
    fn values_are_tested_as_one_by_one() {
        let (offsets, values) = ragged();
        let column = ByteColumn::new(&offsets, DATA.as_bytes()).unwrap();
        let mut needles: Vec<&[u8]> =
            vec![b"", b"a", b"b", b"ab", b"ba", b"bab", b", abb", b"?", b"aa", "é".as_bytes()];
        needles.extend(values.iter());
        for needle in &needles {
            let within = |value: &[u8]| needle.is_empty() || value.windows(needle.len()).any(|part| part == *needle);
            assert_eq!(column.contain(needle).unwrap(), ones(within), "{needle:?}");
            let compared = |comparison| column.compare(comparison, needle).unwrap();
            assert_eq!(compared(ByteComparison::Equal), ones(|value| value == *needle));
            assert_eq!(compared(ByteComparison::Less), ones(|value| value < *needle));
            assert_eq!(compared(ByteComparison::LessOrEqual), ones(|value| value <= *needle));
        }
        for n in 0..needles.len() {
            let data = needles[..n].concat();
            let mut ends = vec![0];
            needles[..n].iter().for_each(|needle| ends.push(ends[ends.len() - 1] + needle.len() as i64));
            let found = column.is_in(ByteColumn::new(&ends, &data).unwrap()).unwrap();
            assert_eq!(found, ones(|value| needles[..n].contains(&value)));
        }
    }

    #[test]
    fn some_values_are_copied_in_order() {
        let (offsets, values) = ragged();
        let column = ByteColumn::new(&offsets, DATA.as_bytes()).unwrap();
        let (ends, data) = column.take(&[5, 0, 1, 5, 6]).unwrap();
        let copies = ByteColumn::new(&ends, &data).unwrap();
        let found: Vec<_> = (0..5).map(|i| copies.value(i).unwrap()).collect();
        assert_eq!(found, [5, 0, 1, 5, 6].map(|i: usize| values[i]));
        for row in [7, -1, i64::MAX, i64::MIN] {
            let message = column.take(&[0, row]).unwrap_err().to_string();
            assert_eq!(message, format!("rows: {row} is not one of 7 values"));
        }
    }

    #[test]
    fn offsets_that_cut_no_values_are_refused() {
        for offsets in [[0, 3, 2], [-1, 0, 1], [0, 1, 5], [0, 1, i64::MAX], [i64::MIN, 0, 0], [2, 5, 4], [7, 7, 7]] {
            let column = ByteColumn::new(&offsets, b"abcd").unwrap();
            let other = ByteColumn::new(&[0, 1], b"b").unwrap();
            let failures = [
                column.compare(ByteComparison::Equal, b"b").map(drop),
                column.compare(ByteComparison::Less, b"b").map(drop),
                column.contain(b"b").map(drop),
                column.contain(b"").map(drop),
                column.is_in(other).map(drop),
                other.is_in(column).map(drop),
                column.take(&[0, 1]).map(drop),
            ];
            for failure in failures {
                let message = failure.unwrap_err().to_string();
                assert!(message.starts_with("offsets: value ") && message.ends_with(" of 4 bytes"), "{message}");
            }
        }
        assert!(ByteColumn::new(&[], b"abc").is_err());
        assert!(ByteColumn::new(&[9], b"abc").unwrap().contain(b"a").is_err());
    }
}
