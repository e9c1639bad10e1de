//! Inputs that come more than once in a call.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::Result;
use crate::memory::{lack, reserve};
use crate::text::{Input, Inputs};

/// Which inputs are computed, and which of them stand for others. Where none comes twice, it is empty.
#[derive(Default)]
pub(super) struct Repeats {
    /// The first of each kind, ascending.
    first: Vec<usize>,
    /// For each of those, how often it comes.
    times: Vec<usize>,
    /// For each input, its place in `first`.
    kind: Vec<usize>,
}

impl Repeats {
    pub(super) fn of(inputs: &dyn Inputs) -> Result<Self> {
        let mut places = HashMap::new();
        let size = size_of::<(Input, usize)>();
        places.try_reserve(inputs.len()).map_err(|_| lack(size, inputs.len(), "a table of the inputs"))?;
        let mut repeats = Self::default();
        for i in 0..inputs.len() {
            let kinds = if repeats.any() { repeats.first.len() } else { i };
            match places.entry(inputs.get(i)) {
                Entry::Vacant(place) => {
                    place.insert(kinds);
                    if repeats.any() {
                        repeats.first.push(i);
                        repeats.times.push(1);
                        repeats.kind.push(kinds);
                    }
                }
                Entry::Occupied(place) => {
                    if !repeats.any() {
                        // All before it differed.
                        for numbers in [&mut repeats.first, &mut repeats.times, &mut repeats.kind] {
                            reserve(numbers, inputs.len(), "a table of the inputs")?;
                        }
                        repeats.first.extend(0..i);
                        repeats.times.resize(i, 1);
                        repeats.kind.extend(0..i);
                    }
                    repeats.times[*place.get()] += 1;
                    repeats.kind.push(*place.get());
                }
            }
        }
        Ok(repeats)
    }

    fn any(&self) -> bool {
        !self.kind.is_empty()
    }

    /// How many kinds `inputs` inputs are of.
    pub(super) fn kinds(&self, inputs: usize) -> usize {
        if self.any() { self.first.len() } else { inputs }
    }

    /// The first input of a kind.
    pub(super) fn first(&self, kind: usize) -> usize {
        self.first.get(kind).copied().unwrap_or(kind)
    }

    /// How many inputs are of a kind.
    pub(super) fn times(&self, kind: usize) -> usize {
        self.times.get(kind).copied().unwrap_or(1)
    }

    /// All inputs that are of one of these kinds, both ascending.
    pub(super) fn all(&self, kinds: Vec<usize>) -> Vec<usize> {
        match self.any() {
            true => (0..self.kind.len()).filter(|&i| kinds.binary_search(&self.kind[i]).is_ok()).collect(),
            false => kinds,
        }
    }

    /// Copies the row of the first of each kind, in `out [inputs, width]`, to the others.
    pub(super) fn copy(&self, out: &mut [f32], width: usize) {
        for (i, &kind) in self.kind.iter().enumerate() {
            let from = self.first[kind];
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
    fn the_first_of_each_kind_stands_for_all() {
        let inputs = ["a", "b", "a", "", "b", "c", "a"].map(str::to_owned).to_vec();
        let repeats = Repeats::of(&inputs).unwrap();
        assert_eq!(repeats.kinds(inputs.len()), 4);
        assert_eq!([0, 1, 2, 3].map(|kind| repeats.first(kind)), [0, 1, 3, 5]);
        assert_eq!([0, 1, 2, 3].map(|kind| repeats.times(kind)), [3, 2, 1, 1]);
        assert_eq!(repeats.all(vec![0, 3]), [0, 2, 5, 6]);
        let mut rows = vec![1.0, 2.0, 0.0, 3.0, 0.0, 4.0, 0.0];
        repeats.copy(&mut rows, 1);
        assert_eq!(rows, [1.0, 2.0, 1.0, 3.0, 2.0, 4.0, 1.0]);
    }

    #[test]
    fn nothing_is_kept_of_inputs_that_differ() {
        let inputs = [("a", "b"), ("b", "a"), ("a", ""), ("", "")].map(|(a, b)| (a.to_owned(), b.to_owned())).to_vec();
        let repeats = Repeats::of(&inputs).unwrap();
        assert!(!repeats.any() && !Repeats::of(&Vec::<String>::new()).unwrap().any());
        assert_eq!(repeats.kinds(inputs.len()), 4);
        assert_eq!((repeats.first(2), repeats.times(2), repeats.all(vec![2])), (2, 1, vec![2]));
    }
}
