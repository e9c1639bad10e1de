//! The packing plan: which texts are computed together, in one pass.
//!
//! Next-fit decreasing bin packing (Johnson 1973) with the shrinking shares of guided self-scheduling (Polychronopoulos
//! and Kuck 1987): the longest texts come first, a pass takes texts until it has its share of what is left, and only
//! the last pass is open.
//!
//! ```text
//! sort texts, the longest first; left = their cost
//! for text: if it fits in the open pass (tokens, texts, share): add it
//!           else: open a pass; share = max(left / threads, least)
//!           left -= cost(text)
//! ```
//!
//! Why it is right: every text is in one pass, and a pass is within the limits unless it is one text. Passes shrink
//! towards the end, down to a smallest cost, so threads that take them in this order (list scheduling, Graham 1969) are
//! done at about one time.
//!
//! The cost of a text of `n` tokens in one layer of a transformer of width `h`: its products take about `12 h²`
//! multiply-adds for each token (4 `h²` around attention, 8 `h²` in a feed-forward block four times as wide), attention
//! `2 n h`, which go half as fast since they have exponentials between them. So a text costs as much as the products of
//! `n (1 + n / 3h)` tokens.

use std::cmp::Reverse;

/// Passes shrink to this cost, in tokens: smaller ones take longer to fetch the weights than threads wait for each other.
const SMALLEST_SHARE: usize = 128;

/// What threads take together for a pass that they share, of what they would take if each had a part of its own.
const SHARED_PERCENT: usize = 120;

/// What a plan keeps to.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most tokens in a pass.
    pub tokens: usize,
    /// The most texts in a pass.
    pub texts: usize,
    /// Threads that each compute one pass at a time.
    pub threads: usize,
    /// Width of the transformer.
    pub hidden: usize,
}

/// What the products of so many tokens cost.
pub fn cost(tokens: usize, hidden: usize) -> usize {
    tokens + tokens * tokens / (3 * hidden)
}

/// Cuts texts of these lengths, in tokens, into passes; gives the indices of each. A text above a limit is a pass of its own.
///
/// The longest texts come first. A pass takes at most its thread's share of what is left, so that passes shrink towards
/// the end and the threads are done at about one time.
pub fn plan(lengths: &[usize], limits: &Limits) -> Vec<Vec<usize>> {
    let cost_of = |i: usize| cost(lengths[i], limits.hidden);
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&i| Reverse(lengths[i]));
    let mut left: usize = order.iter().map(|&i| cost_of(i)).sum();
    let least = left.div_ceil(limits.threads).min(SMALLEST_SHARE);
    let mut passes: Vec<Vec<usize>> = Vec::new();
    // Of the last pass; its share was taken when it began.
    let (mut tokens, mut costs, mut share) = (0, 0, 0);
    for i in order {
        match passes.last_mut() {
            Some(pass)
                if tokens + lengths[i] <= limits.tokens && costs + cost_of(i) <= share && pass.len() < limits.texts =>
            {
                pass.push(i);
                tokens += lengths[i];
                costs += cost_of(i);
            }
            _ => {
                passes.push(vec![i]);
                (tokens, costs) = (lengths[i], cost_of(i));
                share = left.div_ceil(limits.threads).max(least);
            }
        }
        left -= cost_of(i);
    }
    passes
}

/// How many of the last passes, of these costs, all threads do better to share one after the other, when each of the others
/// has been computed by one thread: few long texts are seldom as many as there are threads.
pub fn shared_tail(costs: &[usize], threads: usize) -> usize {
    // The thread that is free first takes the next pass.
    let alone = |costs: &[usize]| {
        let mut busy = vec![0; threads];
        for cost in costs {
            *busy.iter_mut().min().expect("there is a thread") += cost;
        }
        busy.into_iter().max().unwrap_or(0)
    };
    let time = |tail: usize| {
        let (first, last) = costs.split_at(costs.len() - tail);
        100 * alone(first) + SHARED_PERCENT * last.iter().sum::<usize>() / threads
    };
    (0..=costs.len().min(threads)).min_by_key(|&tail| time(tail)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOMY: Limits = Limits { tokens: 100_000, texts: usize::MAX, threads: 1, hidden: 384 };

    fn lengths() -> Vec<usize> {
        (0..1000).map(|i| (i * 7919) % 300).collect()
    }

    #[test]
    fn every_text_is_in_one_pass_within_the_limits() {
        let lengths = lengths();
        for (tokens, texts) in [(512, usize::MAX), (512, 3), (1, 10), (100_000, usize::MAX)] {
            for threads in [1, 2, 7, 64] {
                let passes = plan(&lengths, &Limits { tokens, texts, threads, ..ROOMY });
                let mut seen: Vec<usize> = passes.concat();
                seen.sort_unstable();
                assert_eq!(seen, (0..1000).collect::<Vec<_>>());
                for pass in &passes {
                    let sum: usize = pass.iter().map(|&i| lengths[i]).sum();
                    assert!(pass.len() <= texts && (sum <= tokens || pass.len() == 1));
                }
            }
        }
    }

    #[test]
    fn threads_are_done_at_one_time() {
        let lengths = lengths();
        for count in [20, 100, 1000] {
            for threads in [2, 3, 8] {
                let limits = Limits { tokens: 512, threads, ..ROOMY };
                let mut busy = vec![0; threads];
                for pass in plan(&lengths[..count], &limits) {
                    // The thread that is free first takes the next pass.
                    let first = busy.iter_mut().min().unwrap();
                    *first += pass.iter().map(|&i| cost(lengths[i], limits.hidden)).sum::<usize>();
                }
                let (least, most) = (busy.iter().min().unwrap(), busy.iter().max().unwrap());
                assert!(most - least <= 2 * SMALLEST_SHARE, "{count} texts, {threads} threads: {busy:?}");
            }
        }
    }

    #[test]
    fn a_few_texts_are_shared_out_evenly() {
        let passes = plan(&[20; 8], &Limits { threads: 2, ..ROOMY });
        assert_eq!(passes, [[0, 1, 2, 3], [4, 5, 6, 7]]);
    }

    #[test]
    fn equal_lengths_keep_the_order_of_the_caller() {
        assert_eq!(plan(&[2, 5, 2, 5], &ROOMY), [[1, 3, 0, 2]]);
        assert!(plan(&[], &ROOMY).is_empty());
    }

    #[test]
    fn the_last_passes_are_shared_where_a_thread_would_wait() {
        for (costs, threads, tail) in [
            (&[1000, 1000, 1000][..], 2, 1),
            (&[1000, 1000], 2, 0),
            (&[1000], 2, 1),
            (&[1000, 400, 400, 200], 2, 0),
            (&[1000, 1000, 1000, 1000], 3, 1),
            (&[500; 101], 2, 1),
            (&[1000, 10], 2, 2),
            (&[1000, 1000], 1, 0),
            (&[], 2, 0),
        ] {
            assert_eq!(shared_tail(costs, threads), tail, "{costs:?} on {threads}");
        }
    }
}
