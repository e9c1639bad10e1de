//! An index of a column: for each value the number of its bin, one byte.
//!
//! Algorithm: binned index (Wu, Stockinger & Shoshani, "Breaking the curse of cardinality on bitmap indexes", 2008), with one
//! number for each value in place of a bitmap for each bin.
//!
//! ```text
//! bounds b(1) < ... < b(n), n <= 253; bin i has the values from b(i) up to b(i + 1), bin 0 those below b(1)
//! a bin is single where all of its values are equal to its bound
//! a predicate on values becomes one on bins: it holds for all of a bin, for none, or its values are looked at
//! ```
//!
//! Why it is right: a comparison with v splits the order of values at v, so that it is undecided in v's own bin alone; and
//! what holds for the bound of a single bin holds for all of it. A column of few values has single bins alone, which is a
//! dictionary; of many values, one row in 160 or so is looked at.
//!
//! Tried: a sorted order of rows. It answers for few rows in no time, but takes several times as long to build, four bytes
//! for each row, and longer than this where many rows are kept.

use crate::memory::zeroed;
use crate::store::byte_columns::ByteColumn;
use crate::{Error, Result};

/// Bins but that below the first bound.
const MAX_BOUNDS: usize = 253;

/// Number of the bin of NaN, which has no place in the order.
const NAN_BIN: usize = 254;

/// Values unequal to the bound of their bin that are told of: enough to find the bounds that are missing.
const MAX_ODD_ROWS: usize = 1024;

/// Which bins the values of a column are in.
pub struct ValueBins {
    /// For each value the number of its bin: how many bounds are not above it; 254 for NaN.
    pub codes: Vec<u8>,
    /// The first values that are not equal to the bound of their bin.
    pub odd_rows: Vec<i64>,
    /// 1 where all values of a bin are equal to its bound: of each bin, bin 0 included.
    pub is_single: Vec<u8>,
}

impl ValueBins {
    /// The bins of bytes.
    ///
    /// # Errors
    /// If bounds are none, too many or do not ascend, or offsets cut no values.
    pub fn of_bytes(column: ByteColumn, bounds: ByteColumn) -> Result<Self> {
        let bounds: Vec<&[u8]> = (0..bounds.len()).map(|i| bounds.value(i)).collect::<Result<_>>()?;
        check_bounds(&bounds)?;
        let search = ByteSearch::new(bounds);
        Self::of(column.len(), search.bounds.len(), |i| Ok(search.bin_of(column.value(i)?)))
    }

    /// The bins of numbers.
    ///
    /// # Errors
    /// If bounds are none, too many or do not ascend.
    pub fn of_numbers<T: Copy + PartialOrd>(values: &[T], bounds: &[T]) -> Result<Self> {
        check_bounds(bounds)?;
        let search = Search::new(bounds);
        Self::of(values.len(), bounds.len(), |i| {
            let value = values[i];
            if value.partial_cmp(&value).is_none() {
                return Ok((NAN_BIN, true));
            }
            let bin = search.count(value);
            Ok((bin, bin > 0 && bounds[bin - 1] == value))
        })
    }

    /// Bins of `len` values: `bin_of` gives the bin of one, and whether it needs no look at it.
    fn of(len: usize, bounds: usize, bin_of: impl Fn(usize) -> Result<(usize, bool)>) -> Result<Self> {
        let mut codes = zeroed(len, "an index")?;
        let (mut odd_rows, mut is_single) = (Vec::new(), vec![1; bounds + 1]);
        for (i, code) in codes.iter_mut().enumerate() {
            let (bin, is_equal) = bin_of(i)?;
            *code = bin as u8;
            if !is_equal {
                is_single[bin] = 0;
                if odd_rows.len() < MAX_ODD_ROWS {
                    odd_rows.push(i as i64);
                }
            }
        }
        Ok(Self { codes, odd_rows, is_single })
    }
}

fn check_bounds<T: PartialOrd>(bounds: &[T]) -> Result<()> {
    if !(1..=MAX_BOUNDS).contains(&bounds.len()) {
        let message = format!("expected 1 to {MAX_BOUNDS}, found {}", bounds.len());
        return Err(Error::argument("bounds", message));
    }
    if bounds.windows(2).all(|pair| pair[0] < pair[1]) {
        return Ok(());
    }
    Err(Error::argument("bounds", "expected ascending values"))
}

/// Ascending numbers that others are looked for among.
struct Search<T> {
    /// The last one stands in the places that are left.
    numbers: [T; 256],
    len: usize,
}

impl<T: Copy + PartialOrd> Search<T> {
    /// At least one number.
    fn new(ascending: &[T]) -> Self {
        let mut numbers = [ascending[ascending.len() - 1]; 256];
        numbers[..ascending.len()].copy_from_slice(ascending);
        Self { numbers, len: ascending.len() }
    }

    /// How many are not above `value`; 0 for NaN. Without branches, which nobody could predict.
    fn count(&self, value: T) -> usize {
        let mut count = 0;
        for step in [128, 64, 32, 16, 8, 4, 2, 1] {
            count += usize::from(self.numbers[count + step - 1] <= value) * step;
        }
        count.min(self.len)
    }
}

/// Bounds with numbers that most values are found by.
struct ByteSearch<'a> {
    bounds: Vec<&'a [u8]>,
    /// Bounds at the beginning that are empty: 1 or 0.
    skipped: usize,
    /// What all others begin with, which tells none from another.
    common: &'a [u8],
    /// The eight bytes after that of each of the others, as numbers in the order of bytes.
    heads: Search<u64>,
    /// Of each of the others the first bound with the same head.
    first_of_head: Vec<usize>,
}

impl<'a> ByteSearch<'a> {
    fn new(bounds: Vec<&'a [u8]>) -> Self {
        let skipped = usize::from(bounds[0].is_empty() && bounds.len() > 1);
        let (first, last) = (bounds[skipped], bounds[bounds.len() - 1]);
        let length = first.iter().zip(last).take_while(|(left, right)| left == right).count();
        let heads: Vec<u64> = bounds[skipped..].iter().map(|bound| head_of(&bound[length..])).collect();
        let first_of = |head| skipped + heads.partition_point(|&other| other < head);
        let first_of_head = heads.iter().map(|&head| first_of(head)).collect();
        Self { bounds, skipped, common: &first[..length], heads: Search::new(&heads), first_of_head }
    }

    /// The bin of a value, and whether it is equal to its bound.
    fn bin_of(&self, value: &[u8]) -> (usize, bool) {
        let Some(rest) = value.strip_prefix(self.common) else {
            // All of the others are above it, or none is.
            let bin = if value < self.common { self.skipped } else { self.bounds.len() };
            return (bin, value.is_empty() && self.skipped > 0);
        };
        let head = head_of(rest);
        let count = self.heads.count(head);
        let end = self.skipped + count;
        if count == 0 || self.heads.numbers[count - 1] != head {
            return (end, end > 0 && value.is_empty() && self.bounds[end - 1].is_empty());
        }
        // Most often a single bound has the same head, and the value is equal to it.
        let start = self.first_of_head[count - 1];
        let bin = match &self.bounds[start..end] {
            [bound] if *bound == value => return (end, true),
            bounds => start + bounds.partition_point(|&bound| bound <= value),
        };
        (bin, bin > 0 && self.bounds[bin - 1] == value)
    }
}

/// The first eight bytes as a number in the order of bytes; zeros where there are fewer.
fn head_of(bytes: &[u8]) -> u64 {
    if let Some(head) = bytes.first_chunk() {
        return u64::from_be_bytes(*head);
    }
    // Of overlapping halves, since copying any number of bytes is a call.
    let byte = |i: usize| u64::from(bytes[i]) << (56 - 8 * i);
    match bytes.len() {
        0 => 0,
        1..4 => byte(0) | byte(bytes.len() / 2) | byte(bytes.len() - 1),
        len => {
            let half = |i: usize| u64::from(u32::from_be_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]));
            half(0) << 32 | half(len - 4) << (64 - 8 * len)
        }
    }
}

/// Ranges of codes for which comparing with each takes no longer than looking codes up.
const MAX_RANGES: usize = 4;

/// 1 for each code that is 1 in `selected`; 0 for others.
pub fn select_codes(codes: &[u8], selected: &[u8; 256]) -> Result<Vec<u8>> {
    let ranges = ranges(selected);
    let mut found = zeroed(codes.len(), "a filter")?;
    if ranges.len() > MAX_RANGES {
        found.iter_mut().zip(codes).for_each(|(found, &code)| *found = selected[usize::from(code)]);
        return Ok(found);
    }
    for (first, last) in ranges {
        // Compared many at once.
        for (found, &code) in found.iter_mut().zip(codes) {
            *found |= u8::from(code.wrapping_sub(first) <= last - first);
        }
    }
    Ok(found)
}

/// First and last of consecutive codes that are selected.
fn ranges(selected: &[u8; 256]) -> Vec<(u8, u8)> {
    let mut found: Vec<(u8, u8)> = Vec::new();
    for code in (0..=u8::MAX).filter(|&code| selected[usize::from(code)] == 1) {
        match found.last_mut() {
            Some((_, last)) if *last + 1 == code => *last = code,
            _ => found.push((code, code)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(values: &[&str]) -> (Vec<i64>, Vec<u8>) {
        let mut offsets = vec![0];
        values.iter().for_each(|value| offsets.push(offsets[offsets.len() - 1] + value.len() as i64));
        (offsets, values.concat().into_bytes())
    }

    fn bins(values: &[&str], bounds: &[&str]) -> Result<ValueBins> {
        let (values, bounds) = (packed(values), packed(bounds));
        ValueBins::of_bytes(ByteColumn::new(&values.0, &values.1)?, ByteColumn::new(&bounds.0, &bounds.1)?)
    }

    #[test]
    fn each_value_is_in_the_bin_of_the_last_bound_that_is_not_above_it() {
        let long = "\u{10ffff}\u{10ffff}\u{10ffff}";
        let values = [
            "",
            "\0",
            "\0\0",
            "a",
            "ab",
            "a\0",
            "abcdefgh",
            "abcdefgh\0",
            "abcdefghi",
            "abcdefghz",
            "b",
            "é",
            "https://a",
            "https://b",
            "https://",
            "https:",
            "z",
            long,
        ];
        for first in 0..values.len() {
            for step in 1..values.len() {
                let mut bounds: Vec<&str> = values.iter().copied().skip(first).step_by(step).collect();
                bounds.sort_unstable();
                let found = bins(&values, &bounds).unwrap();
                let mut is_single = vec![1; bounds.len() + 1];
                let mut odd_rows = Vec::new();
                for (row, value) in values.iter().enumerate() {
                    let bin = bounds.iter().filter(|bound| *bound <= value).count();
                    assert_eq!(usize::from(found.codes[row]), bin, "{value:?} in {bounds:?}");
                    if bin == 0 || bounds[bin - 1] != *value {
                        is_single[bin] = 0;
                        odd_rows.push(row as i64);
                    }
                }
                assert_eq!((found.is_single, found.odd_rows), (is_single, odd_rows));
            }
        }
    }

    #[test]
    fn all_bounds_that_there_may_be() {
        let names: Vec<String> = (0..600).map(|i| format!("common prefix {i:03}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = bins(&names, &names[..253]).unwrap();
        assert_eq!(found.codes[..253], (1..=253).collect::<Vec<u8>>());
        assert_eq!(found.codes[253..], [253; 347]);
        assert_eq!(found.odd_rows, (253..600).collect::<Vec<i64>>());
        assert!(bins(&names, &names[..254]).is_err());
        assert!(bins(&names, &["b", "a"]).is_err());
        assert!(bins(&names, &["b", "b"]).is_err());
        assert!(bins(&names, &[]).is_err());
        let no_values = ByteColumn::new(&[0, 9], b"a").unwrap();
        assert!(ValueBins::of_bytes(no_values, no_values).is_err());
        assert!(ValueBins::of_bytes(no_values, ByteColumn::new(&[0, 0], b"").unwrap()).is_err());
    }

    fn check_numbers<T: Copy + PartialOrd>(values: &[T], bounds: &[T]) {
        let found = ValueBins::of_numbers(values, bounds).unwrap();
        let mut is_single = vec![1; bounds.len() + 1];
        for (value, &code) in values.iter().zip(&found.codes) {
            if value.partial_cmp(value).is_none() {
                assert_eq!(usize::from(code), NAN_BIN);
                continue;
            }
            let bin = bounds.iter().filter(|bound| *bound <= value).count();
            assert_eq!(usize::from(code), bin);
            if bin == 0 || bounds[bin - 1] != *value {
                is_single[bin] = 0;
            }
        }
        assert_eq!(found.is_single, is_single);
    }

    #[test]
    fn numbers_are_in_the_bin_of_the_last_bound_that_is_not_above_them() {
        let whole = [i64::MIN, i64::MIN + 1, -5, 0, 1, 2, 7, 7, 900, i64::MAX - 1, i64::MAX];
        check_numbers(&whole, &[i64::MIN]);
        check_numbers(&whole, &[i64::MIN, 0, 7, i64::MAX]);
        check_numbers(&whole, &[-5, 2, 8]);
        let many: Vec<u32> = (0..1000).map(|i| i * 7919 % 1000).collect();
        for bounds in [1, 2, 127, 128, 129, 252, 253] {
            check_numbers(&many, &(0..bounds).map(|i| i * 3 + 1).collect::<Vec<u32>>());
        }
        let floats = [f64::NEG_INFINITY, -1e300, -0.0, 0.0, 0.5, f64::NAN, 1e300, f64::INFINITY, -f64::NAN];
        check_numbers(&floats, &[f64::NEG_INFINITY, 0.0, f64::INFINITY]);
        check_numbers(&floats, &[-1.0]);
        for bounds in [vec![0.0, f64::NAN], vec![1.0, 1.0], vec![2.0, 1.0], vec![], vec![0.0; 254]] {
            assert!(ValueBins::of_numbers(&floats, &bounds).is_err());
        }
    }

    #[test]
    fn heads_are_in_the_order_of_bytes() {
        let bytes: Vec<u8> = (1..=20).collect();
        for length in 0..bytes.len() {
            let mut padded = bytes[..length].to_vec();
            padded.resize(length.max(8), 0);
            assert_eq!(head_of(&bytes[..length]).to_be_bytes(), padded[..8]);
        }
    }

    #[test]
    fn codes_are_selected_one_by_one() {
        let codes: Vec<u8> = (0..5000_u32).map(|i| (i * i % 257) as u8).collect();
        for every in [1, 2, 3, 7, 100, 255, 256] {
            for filled in [0..0, 40..90, 255..256, 0..256] {
                let mut selected = [0; 256];
                selected.iter_mut().step_by(every).for_each(|selected| *selected = 1);
                selected[filled].fill(1);
                let expected: Vec<u8> = codes.iter().map(|&code| selected[usize::from(code)]).collect();
                assert_eq!(select_codes(&codes, &selected).unwrap(), expected);
            }
        }
        assert_eq!(select_codes(&codes, &[0; 256]).unwrap(), vec![0; codes.len()]);
    }
}
