//! Inputs that come more than once in a call.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::text::Input;

/// Which inputs are computed, and which of them stand for the others.
pub(super) struct Repeats {
    /// The first of each kind, ascending.
    pub(super) first: Vec<usize>,
    /// For each of those, how often it comes.
    pub(super) times: Vec<usize>,
    /// For each input, its place in `first`; empty where none comes twice.
    kind: Vec<usize>,
}

impl Repeats {
    pub(super) fn of(inputs: &[Input]) -> Self {
        let mut places = HashMap::with_capacity(inputs.len());
        let (mut first, mut times, mut kind) = (Vec::new(), Vec::new(), Vec::new());
        for (i, input) in inputs.iter().enumerate() {
            match places.entry(input) {
                Entry::Occupied(place) => {
                    if kind.is_empty() {
                        kind.extend(0..i);
                    }
                    times[*place.get()] += 1;
                    kind.push(*place.get());
                }
                Entry::Vacant(place) => {
                    if !kind.is_empty() {
                        kind.push(first.len());
                    }
                    place.insert(first.len());
                    first.push(i);
                    times.push(1);
                }
            }
        }
        Self { first, times, kind }
    }

    /// Whether any input comes twice.
    pub(super) fn any(&self) -> bool {
        !self.kind.is_empty()
    }

    /// All inputs that are of one of these kinds, both ascending.
    pub(super) fn all(&self, kinds: &[usize]) -> Vec<usize> {
        match self.any() {
            true => (0..self.kind.len()).filter(|&i| kinds.binary_search(&self.kind[i]).is_ok()).collect(),
            false => kinds.to_vec(),
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
        let inputs = ["a", "b", "a", "", "b", "c", "a"].map(Input::Text);
        let repeats = Repeats::of(&inputs);
        assert_eq!(repeats.first, [0, 1, 3, 5]);
        assert_eq!(repeats.times, [3, 2, 1, 1]);
        assert!(repeats.any());
        assert_eq!(repeats.all(&[0, 3]), [0, 2, 5, 6]);
        let mut rows = vec![1.0, 2.0, 0.0, 3.0, 0.0, 4.0, 0.0];
        repeats.copy(&mut rows, 1);
        assert_eq!(rows, [1.0, 2.0, 1.0, 3.0, 2.0, 4.0, 1.0]);
    }

    #[test]
    fn nothing_is_kept_of_inputs_that_differ() {
        let repeats = Repeats::of(&[Input::Pair("a", "b"), Input::Pair("b", "a"), Input::Text("a"), Input::Text("")]);
        assert_eq!(repeats.first, [0, 1, 2, 3]);
        assert!(!repeats.any());
        assert_eq!(repeats.all(&[2]), [2]);
        assert!(!Repeats::of(&[]).any());
    }
}
