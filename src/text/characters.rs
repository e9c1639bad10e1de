//! Places in a text: bytes, and characters as Python counts them.

use std::ops::Range;

/// Number of characters before each place in bytes; places ascend.
pub fn characters_before(text: &str, places: impl Iterator<Item = usize>) -> Vec<usize> {
    if text.is_ascii() {
        return places.collect();
    }
    let (mut at, mut count) = (0, 0);
    let count_to = |place: usize| {
        count += text[at..place].chars().count();
        at = place;
        count
    };
    places.map(count_to).collect()
}

/// The bytes of ranges of characters, in any order; a range that ends behind the text ends with it.
pub fn bytes_of(text: &str, chunks: &[(usize, usize)]) -> Vec<Range<usize>> {
    let is_ascii = text.is_ascii();
    let mut wanted: Vec<usize> = chunks.iter().flat_map(|&(start, end)| [start, end]).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut found = Vec::with_capacity(wanted.len());
    let mut places = text.char_indices().map(|(place, _)| place).enumerate();
    for &character in wanted.iter().filter(|_| !is_ascii) {
        let place = places.find(|&(number, _)| number == character);
        found.push(place.map_or(text.len(), |(_, place)| place));
    }
    let byte = |character: usize| match is_ascii {
        true => character.min(text.len()),
        false => found[wanted.partition_point(|&other| other < character)],
    };
    chunks.iter().map(|&(start, end)| byte(start)..byte(end).max(byte(start))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_and_bytes() {
        let text = "aé日👩b";
        assert_eq!(characters_before(text, [0, 1, 3, 6, 10, 11].into_iter()), [0, 1, 2, 3, 4, 5]);
        assert_eq!(bytes_of(text, &[(2, 4), (0, 1), (1, 5), (4, 9)]), [3..10, 0..1, 1..11, 10..11]);
        assert_eq!(bytes_of("ab", &[(1, 5), (0, 1)]), [1..2, 0..1]);
        assert!(bytes_of("", &[(0, 0), (0, 3)]).iter().all(|range| *range == (0..0)));
    }
}
