//! Names of the files that a GGUF model is split into, as llama.cpp has them: "NAME-00001-of-00003.gguf".

/// The end of the names of GGUF files.
pub(crate) const GGUF_ENDING: &str = ".gguf";

/// The name of one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SplitName<'a> {
    /// What comes before the numbers.
    pub(crate) stem: &'a str,
    count: usize,
}

impl<'a> SplitName<'a> {
    /// None for the name of a file that is a whole.
    pub(crate) fn parse(name: &'a str) -> Option<Self> {
        let (rest, count) = number(name.strip_suffix(GGUF_ENDING)?, "-of-")?;
        let (stem, part) = number(rest, "-")?;
        (1..=count).contains(&part).then_some(Self { stem, count })
    }

    /// The name of the part with this number, from 1.
    pub(crate) fn part(&self, part: usize) -> String {
        let Self { stem, count } = self;
        format!("{stem}-{part:05}-of-{count:05}{GGUF_ENDING}")
    }
}

/// The number of five digits at the end of a text, and what is before it and `mark`.
fn number<'a>(text: &'a str, mark: &str) -> Option<(&'a str, usize)> {
    let (before, digits) = text.rsplit_once(mark)?;
    let is_number = digits.len() == 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
    Some((before, digits.parse().ok().filter(|_| is_number)?))
}

/// The name by which a GGUF file is asked for: of one of several parts that of the first.
pub(crate) fn first_part(name: &str) -> String {
    SplitName::parse(name).map_or_else(|| name.to_owned(), |split| split.part(1))
}

/// The names of all parts of a file that is asked for by `name`, or this name alone.
pub(crate) fn all_parts(name: &str) -> Vec<String> {
    match SplitName::parse(name) {
        Some(split) => (1..=split.count).map(|part| split.part(part)).collect(),
        None => vec![name.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_two_numbers_at_the_end_of_their_names() {
        let names = ["x-00001-of-00002.gguf", "x-00002-of-00002.gguf"];
        for name in names {
            assert_eq!(first_part(name), names[0]);
            assert_eq!(all_parts(name), names);
            assert_eq!(SplitName::parse(name).unwrap().stem, "x");
        }
        for whole in [
            "x.gguf",
            "x-00000-of-00002.gguf",
            "x-00003-of-00002.gguf",
            "x-1-of-2.gguf",
            "x-00001-of-00002.bin",
            "x-+0001-of-00002.gguf",
            "00001-of-00002.gguf",
        ] {
            assert_eq!(SplitName::parse(whole), None, "{whole}");
            assert_eq!(all_parts(whole), [whole]);
        }
    }
}
