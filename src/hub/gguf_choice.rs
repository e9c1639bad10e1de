//! Which GGUF file of a repository is meant: the only one, or that of a tag, as Ollama and llama.cpp have it: "owner/name:Q8_0".

use std::collections::BTreeSet;

use crate::files::{GGUF_ENDING, SplitName, first_part};
use crate::{Error, Result};

/// How a file is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GgufName<'a> {
    /// By the end of its name.
    Tag(&'a str),
    /// By its whole name, or that of one of its parts.
    File(&'a str),
}

/// The one of `names` that is meant, of one that is split the first part; None where none of them is a GGUF file, and none is asked
/// for.
///
/// # Errors
/// [`Error::Model`] where several are meant, or none; [`Error::Argument`] where there is no file of that name.
pub(super) fn choose<'a>(names: impl Iterator<Item = &'a str>, asked: Option<GgufName>) -> Result<Option<String>> {
    let files: BTreeSet<String> = names.filter(|name| name.ends_with(GGUF_ENDING)).map(first_part).collect();
    let all = || files.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let tag = match asked {
        Some(GgufName::File(name)) => {
            let first = first_part(name);
            let missing =
                || Error::argument("gguf_file", format!("there is no {name:?} among the model\'s files: {}", all()));
            return Some(first).filter(|first| files.contains(first)).map(Some).ok_or_else(missing);
        }
        Some(GgufName::Tag(tag)) => Some(tag),
        None => None,
    };
    let tagged = |file: &str| {
        let stem = SplitName::parse(file).map_or(file.trim_end_matches(GGUF_ENDING), |split| split.stem).to_lowercase();
        let tag = tag.unwrap_or_default().to_lowercase();
        stem.strip_suffix(&tag).is_some_and(|rest| tag.is_empty() || rest.is_empty() || rest.ends_with(['-', '.', '_']))
    };
    let meant: Vec<&String> = files.iter().filter(|file| tagged(file)).collect();
    match (&meant[..], tag) {
        (&[file], _) => Ok(Some(file.clone())),
        ([], None) => Ok(None),
        (_, tag) => {
            let found = match (tag, meant.len()) {
                (Some(tag), 0) => format!("none has the name that {tag:?} ends"),
                (Some(tag), count) => format!("{count} have names that {tag:?} ends"),
                (None, count) => format!("there are {count}"),
            };
            let message = format!(
                "{found}; \"owner/name:TAG\" chooses one by the end of its name, and gguf_file= by all of it, of {}",
                all()
            );
            Err(Error::model(format!("*{GGUF_ENDING}"), message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_the_end_of_a_name() {
        let names = ["README.md", "x-Q4_0.gguf", "x-Q8_0.gguf", "x.f16.gguf", "x-IQ4_0.gguf"];
        let choose =
            |tag: Option<&str>| choose(names.into_iter(), tag.map(GgufName::Tag)).map_err(|error| error.to_string());
        let found = |name: &str| Ok(Some(name.to_owned()));
        assert_eq!(choose(Some("Q8_0")), found("x-Q8_0.gguf"));
        assert_eq!(choose(Some("q4_0")), found("x-Q4_0.gguf"));
        assert_eq!(choose(Some("F16")), found("x.f16.gguf"));
        assert!(choose(Some("0")).unwrap_err().starts_with("*.gguf: 3 have names that \"0\" ends; \"owner/name:TAG\""));
        assert!(choose(Some("Q2_K")).unwrap_err().starts_with("*.gguf: none has the name that \"Q2_K\" ends; "));
        assert!(choose(None).unwrap_err().starts_with("*.gguf: there are 4; "));
        assert_eq!(super::choose(names[..2].iter().copied(), None).unwrap().as_deref(), Some("x-Q4_0.gguf"));
        assert_eq!(super::choose(names[..1].iter().copied(), None).unwrap(), None);
        assert!(super::choose(names[..1].iter().copied(), Some(GgufName::Tag("Q8_0"))).is_err());
    }

    #[test]
    fn a_file_is_one_that_is_there_with_all_its_parts() {
        let names = ["x-Q8_0-00001-of-00002.gguf", "x-Q8_0-00002-of-00002.gguf", "x-Q4_0.gguf"];
        let choose = |asked| choose(names.into_iter(), Some(asked)).map_err(|error| error.to_string());
        let first = Ok(Some(names[0].to_owned()));
        assert_eq!(choose(GgufName::Tag("Q8_0")), first);
        assert_eq!(choose(GgufName::File(names[0])), first);
        assert_eq!(choose(GgufName::File(names[1])), first);
        assert_eq!(choose(GgufName::File(names[2])), Ok(Some(names[2].to_owned())));
        let message = choose(GgufName::File("y.gguf")).unwrap_err();
        let expected =
            "gguf_file: there is no \"y.gguf\" among the model's files: x-Q4_0.gguf, x-Q8_0-00001-of-00002.gguf";
        assert_eq!(message, expected);
    }
}
