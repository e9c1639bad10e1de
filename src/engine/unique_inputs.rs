//! The unique inputs of a call: each is computed once, and its row copied to its duplicates.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::Result;
use crate::memory::{lack, reserve};
use crate::text::{Input, Inputs};

/// Which inputs of a call are unique. Where no input comes twice, it is empty.
#[derive(Default)]
pub(super) struct UniqueInputs {
    /// First occurrence of each unique input, ascending.
    first: Vec<usize>,
    /// Number of occurrences of each unique input.
    occurrences: Vec<usize>,
    /// Unique input of each input: its place in `first`.
    unique_of: Vec<usize>,
}

impl UniqueInputs {
    pub(super) fn of(inputs: &dyn Inputs) -> Result<Self> {
        let mut places = HashMap::new();
        let size = size_of::<(Input, usize)>();
        places.try_reserve(inputs.len()).map_err(|_| lack(size, inputs.len(), "a table of the inputs"))?;
        let mut found = Self::default();
        for i in 0..inputs.len() {
            let unique = if found.has_duplicates() { found.first.len() } else { i };
            match places.entry(inputs.get(i)) {
                Entry::Vacant(place) => {
                    place.insert(unique);
                    if found.has_duplicates() {
                        found.first.push(i);
                        found.occurrences.push(1);
                        found.unique_of.push(unique);
                    }
                }
                Entry::Occupied(place) => {
                    if !found.has_duplicates() {
                        // All before it differed.
                        for numbers in [&mut found.first, &mut found.occurrences, &mut found.unique_of] {
                            reserve(numbers, inputs.len(), "a table of the inputs")?;
                        }
                        found.first.extend(0..i);
                        found.occurrences.resize(i, 1);
                        found.unique_of.extend(0..i);
                    }
                    found.occurrences[*place.get()] += 1;
                    found.unique_of.push(*place.get());
                }
            }
        }
        Ok(found)
    }

    fn has_duplicates(&self) -> bool {
        !self.unique_of.is_empty()
    }

    /// Number of unique inputs among `inputs` inputs.
    pub(super) fn len(&self, inputs: usize) -> usize {
        if self.has_duplicates() { self.first.len() } else { inputs }
    }

    /// First occurrence of a unique input.
    pub(super) fn first(&self, unique: usize) -> usize {
        self.first.get(unique).copied().unwrap_or(unique)
    }

    /// Number of occurrences of a unique input.
    pub(super) fn occurrences(&self, unique: usize) -> usize {
        self.occurrences.get(unique).copied().unwrap_or(1)
    }

    /// All occurrences of some unique inputs, both ascending.
    pub(super) fn all(&self, uniques: Vec<usize>) -> Vec<usize> {
        match self.has_duplicates() {
            true => (0..self.unique_of.len()).filter(|&i| uniques.binary_search(&self.unique_of[i]).is_ok()).collect(),
            false => uniques,
        }
    }

    /// Copies the row of each first occurrence, in `out [inputs, width]`, to the duplicates.
    pub(super) fn copy_rows(&self, out: &mut [f32], width: usize) {
        for (i, &unique) in self.unique_of.iter().enumerate() {
            let from = self.first[unique];
            if from != i {
                out.copy_within(from * width..(from + 1) * width, i * width);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_occurrence_stands_for_all() {
        let inputs = ["a", "b", "a", "", "b", "c", "a"].map(str::to_owned).to_vec();
        let found = UniqueInputs::of(&inputs).unwrap();
        assert_eq!(found.len(inputs.len()), 4);
        assert_eq!([0, 1, 2, 3].map(|unique| found.first(unique)), [0, 1, 3, 5]);
        assert_eq!([0, 1, 2, 3].map(|unique| found.occurrences(unique)), [3, 2, 1, 1]);
        assert_eq!(found.all(vec![0, 3]), [0, 2, 5, 6]);
        let mut rows = vec![1.0, 2.0, 0.0, 3.0, 0.0, 4.0, 0.0];
        found.copy_rows(&mut rows, 1);
        assert_eq!(rows, [1.0, 2.0, 1.0, 3.0, 2.0, 4.0, 1.0]);
    }

    #[test]
    fn unique_inputs_need_no_table() {
        let inputs = [("a", "b"), ("b", "a"), ("a", ""), ("", "")].map(|(a, b)| (a.to_owned(), b.to_owned())).to_vec();
        let found = UniqueInputs::of(&inputs).unwrap();
        assert!(!found.has_duplicates() && !UniqueInputs::of(&Vec::<String>::new()).unwrap().has_duplicates());
        assert_eq!(found.len(inputs.len()), 4);
        assert_eq!((found.first(2), found.occurrences(2), found.all(vec![2])), (2, 1, vec![2]));
    }
}
