//! Which texts are computed together.

/// Cuts texts into passes of at most `budget` tokens and `max_texts` texts (a longer text is a pass of its own); gives the
/// indices of each pass. The longest texts come first, so that the last pass to finish is a short one.
pub fn plan(lengths: &[usize], budget: usize, max_texts: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(lengths[i]));
    let mut passes: Vec<Vec<usize>> = Vec::new();
    let mut tokens = 0;
    for i in order {
        match passes.last_mut() {
            Some(pass) if tokens + lengths[i] <= budget && pass.len() < max_texts => {
                pass.push(i);
                tokens += lengths[i];
            }
            _ => {
                passes.push(vec![i]);
                tokens = lengths[i];
            }
        }
    }
    passes
}

#[cfg(test)]
mod tests {
    use super::plan;

    #[test]
    fn every_text_is_in_one_pass_within_the_limits() {
        let lengths: Vec<usize> = (0..1000).map(|i| (i * 7919) % 300).collect();
        for (budget, max_texts) in [(512, usize::MAX), (512, 3), (1, 10), (100_000, usize::MAX)] {
            let passes = plan(&lengths, budget, max_texts);
            let mut seen: Vec<usize> = passes.concat();
            seen.sort_unstable();
            assert_eq!(seen, (0..1000).collect::<Vec<_>>());
            for pass in &passes {
                let tokens: usize = pass.iter().map(|&i| lengths[i]).sum();
                assert!(pass.len() <= max_texts && (tokens <= budget || pass.len() == 1));
            }
        }
    }

    #[test]
    fn equal_lengths_keep_the_order_of_the_caller() {
        assert_eq!(plan(&[2, 5, 2, 5], 100, 10), [[1, 3, 0, 2]]);
        assert!(plan(&[], 100, 10).is_empty());
    }
}
