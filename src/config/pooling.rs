//! A Pooling module's config.json.

use crate::Result;
use crate::config::Object;
use crate::config::features::MAX_FEATURES;
use crate::files::{ModelFolder, inside};

/// How the vectors of a text's tokens become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolingMode {
    Cls,
    Max,
    Mean,
    /// The sum divided by the square root of the number of tokens.
    MeanSqrtLen,
    /// Weights grow with the position: 1, 2, 3, ...
    WeightedMean,
    LastToken,
}

impl PoolingMode {
    /// Each mode's name, and the boolean key that older files have in its place, in the order in which several of
    /// those are concatenated.
    const NAMES: [(Self, &'static str, &'static str); 6] = [
        (Self::Cls, "cls", "pooling_mode_cls_token"),
        (Self::Max, "max", "pooling_mode_max_tokens"),
        (Self::Mean, "mean", "pooling_mode_mean_tokens"),
        (Self::MeanSqrtLen, "mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens"),
        (Self::WeightedMean, "weightedmean", "pooling_mode_weightedmean_tokens"),
        (Self::LastToken, "lasttoken", "pooling_mode_lasttoken"),
    ];

    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].1
    }

    /// The boolean key that older files have in its place.
    pub fn flag(self) -> &'static str {
        Self::NAMES[self as usize].2
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolingConfig {
    /// The subfolder with the file.
    pub path: String,
    /// Width of a token's vector; `None` where no file says it.
    pub embedding_dimension: Option<usize>,
    /// At least one; the results of several are concatenated in this order.
    pub modes: Vec<PoolingMode>,
    /// Whether the tokens of the prompt are pooled with the text's.
    pub include_prompt: bool,
}

impl PoolingConfig {
    /// The module that a folder gets whose files list none.
    pub fn of_mode(mode: PoolingMode) -> Self {
        Self { path: String::new(), embedding_dimension: None, modes: vec![mode], include_prompt: true }
    }

    /// Reads config.json in the subfolder `path`.
    pub(super) fn read(folder: &ModelFolder, path: &str) -> Result<Self> {
        let file = Object::require(folder, &inside(path, "config.json"))?;
        let key = if file.contains("embedding_dimension") { "embedding_dimension" } else { "word_embedding_dimension" };
        let dimension = file.required(key, file.integer(key, 1..=MAX_FEATURES)?)?;
        Ok(Self {
            path: path.to_owned(),
            embedding_dimension: Some(dimension),
            modes: if file.contains("pooling_mode") { named_modes(&file)? } else { flagged_modes(&file)? },
            include_prompt: file.boolean("include_prompt")?.unwrap_or(true),
        })
    }
}

fn named_modes(file: &Object) -> Result<Vec<PoolingMode>> {
    let key = "pooling_mode";
    let names = match file.text(key) {
        Ok(name) => Vec::from_iter(name),
        Err(_) => file.texts(key)?.unwrap_or_default(),
    };
    let accepted = || PoolingMode::NAMES.map(|(_, name, _)| name).join(", ");
    let mode = |name: &str| PoolingMode::NAMES.iter().find(|known| known.1 == name).map(|known| known.0);
    let modes: Option<Vec<_>> = names.iter().map(|name| mode(name)).collect();
    modes
        .filter(|modes| !modes.is_empty())
        .ok_or_else(|| file.error(key, format!("expected one or more of {}, found {names:?}", accepted())))
}

fn flagged_modes(file: &Object) -> Result<Vec<PoolingMode>> {
    let mut modes = Vec::new();
    for (mode, _, key) in PoolingMode::NAMES {
        if file.boolean(key)? == Some(true) {
            modes.push(mode);
        }
    }
    Ok(if modes.is_empty() { vec![PoolingMode::Mean] } else { modes })
}

#[cfg(test)]
mod tests {
    use super::PoolingMode::*;
    use super::*;
    use crate::config::testing::folder;

    fn read(rest: &str) -> Result<PoolingConfig> {
        let text = format!(r#"{{"embedding_dimension": 8{rest}}}"#);
        let (_root, folder) = folder(&[("1_Pooling/config.json", &text)]);
        PoolingConfig::read(&folder, "1_Pooling")
    }

    #[test]
    fn old_flags_come_in_their_own_order() {
        for (rest, modes) in [
            ("", vec![Mean]),
            (r#", "pooling_mode_mean_tokens": false"#, vec![Mean]),
            (r#", "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false"#, vec![Cls]),
            (r#", "pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true"#, vec![Cls, Mean]),
            (
                r#", "pooling_mode_lasttoken": true, "pooling_mode_weightedmean_tokens": true,
                    "pooling_mode_mean_sqrt_len_tokens": true, "pooling_mode_max_tokens": true"#,
                vec![Max, MeanSqrtLen, WeightedMean, LastToken],
            ),
        ] {
            assert_eq!(read(rest).unwrap().modes, modes, "{rest}");
        }
    }

    #[test]
    fn new_names_come_in_the_order_of_the_file_and_beat_the_flags() {
        for (rest, modes) in [
            (r#", "pooling_mode": "lasttoken""#, vec![LastToken]),
            (r#", "pooling_mode": ["mean", "cls"]"#, vec![Mean, Cls]),
            (r#", "pooling_mode": "max", "pooling_mode_cls_token": true"#, vec![Max]),
            (r#", "pooling_mode": ["mean_sqrt_len_tokens", "weightedmean"]"#, vec![MeanSqrtLen, WeightedMean]),
        ] {
            assert_eq!(read(rest).unwrap().modes, modes, "{rest}");
        }
    }

    #[test]
    fn dimension_has_two_names_and_the_prompt_is_pooled_by_default() {
        let (_root, folder) = folder(&[("config.json", r#"{"word_embedding_dimension": 3}"#)]);
        let config = PoolingConfig::read(&folder, "").unwrap();
        assert_eq!((config.embedding_dimension, config.include_prompt), (Some(3), true));
        assert!(!read(r#", "include_prompt": false"#).unwrap().include_prompt);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let accepted = "cls, max, mean, mean_sqrt_len_tokens, weightedmean, lasttoken";
        for (rest, expected) in [
            (
                r#", "pooling_mode": "sum""#,
                format!("pooling_mode: expected one or more of {accepted}, found [\"sum\"]"),
            ),
            (r#", "pooling_mode": []"#, format!("pooling_mode: expected one or more of {accepted}, found []")),
            (r#", "pooling_mode": null"#, format!("pooling_mode: expected one or more of {accepted}, found []")),
            (r#", "pooling_mode": 3"#, "pooling_mode: expected a list of strings, found 3".into()),
            (
                r#", "pooling_mode_cls_token": "yes""#,
                "pooling_mode_cls_token: expected true or false, found \"yes\"".into(),
            ),
        ] {
            assert_eq!(read(rest).unwrap_err().to_string(), format!("1_Pooling/config.json: {expected}"));
        }
        let (_root, folder) = folder(&[("config.json", "{}")]);
        let message = PoolingConfig::read(&folder, "").unwrap_err().to_string();
        assert_eq!(message, "config.json: word_embedding_dimension: missing");
    }
}
