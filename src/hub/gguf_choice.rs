//! Which GGUF file of a repository is meant: the only one, or that of a tag, as Ollama and llama.cpp have it: "owner/name:Q8_0".

use crate::files::GGUF_ENDING;
use crate::{Error, Result};

/// The one of `names` that is meant; None where none of them is a GGUF file, and no tag asks for one.
///
/// # Errors
/// [`Error::Model`] where several are meant, or none.
pub(super) fn choose<'a>(names: impl Iterator<Item = &'a str>, tag: Option<&str>) -> Result<Option<&'a str>> {
    let files: Vec<&str> = names.filter(|name| name.ends_with(GGUF_ENDING)).collect();
    let tagged = |file: &str| {
        let (stem, tag) = (file.trim_end_matches(GGUF_ENDING).to_lowercase(), tag.unwrap_or_default().to_lowercase());
        stem.strip_suffix(&tag).is_some_and(|rest| tag.is_empty() || rest.is_empty() || rest.ends_with(['-', '.', '_']))
    };
    let meant: Vec<&str> = files.iter().copied().filter(|file| tagged(file)).collect();
    match (&meant[..], tag) {
        ([file], _) => Ok(Some(file)),
        ([], None) => Ok(None),
        (_, tag) => {
            let found = match (tag, meant.len()) {
                (Some(tag), 0) => format!("none has the name that {tag:?} ends"),
                (Some(tag), count) => format!("{count} have names that {tag:?} ends"),
                (None, count) => format!("there are {count}"),
            };
            let message =
                format!("{found}; \"owner/name:TAG\" chooses one by the end of its name, of {}", files.join(", "));
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
        let choose = |tag| choose(names.into_iter(), tag).map_err(|error| error.to_string());
        assert_eq!(choose(Some("Q8_0")), Ok(Some("x-Q8_0.gguf")));
        assert_eq!(choose(Some("q4_0")), Ok(Some("x-Q4_0.gguf")));
        assert_eq!(choose(Some("F16")), Ok(Some("x.f16.gguf")));
        assert!(choose(Some("0")).unwrap_err().starts_with("*.gguf: 3 have names that \"0\" ends; \"owner/name:TAG\""));
        assert!(choose(Some("Q2_K")).unwrap_err().starts_with("*.gguf: none has the name that \"Q2_K\" ends; "));
        assert!(choose(None).unwrap_err().starts_with("*.gguf: there are 4; "));
        assert_eq!(super::choose(names[..2].iter().copied(), None).unwrap(), Some("x-Q4_0.gguf"));
        assert_eq!(super::choose(names[..1].iter().copied(), None).unwrap(), None);
        assert!(super::choose(names[..1].iter().copied(), Some("Q8_0")).is_err());
    }
}
