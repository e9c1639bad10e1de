//! A Dense module's config.json.

use crate::Result;
use crate::config::Object;
use crate::config::features::{MAX_FEATURES, refuse_other_features};
use crate::files::{ModelFolder, inside};

/// `activation(x · weightᵀ + bias)`, and `x` itself added to it where `residual`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenseConfig {
    /// The subfolder with the weights.
    pub path: String,
    pub in_features: usize,
    pub out_features: usize,
    pub bias: bool,
    /// The name of a class of `torch.nn`.
    pub activation: String,
    /// Goes through a weight of its own where `in_features` and `out_features` differ.
    pub residual: bool,
    /// Whether what it gives are scores, and not an embedding.
    pub scores: bool,
}

impl DenseConfig {
    /// Reads config.json in the subfolder `path`.
    pub(super) fn read(folder: &ModelFolder, path: &str) -> Result<Self> {
        let file = Object::require(folder, &inside(path, "config.json"))?;
        refuse_other_features(&file, true)?;
        let features = |key| file.required(key, file.integer(key, 1..=MAX_FEATURES)?);
        // Present and null is an error in sentence-transformers, and not the absent key's Tanh.
        let activation = match file.text("activation_function")? {
            None if file.contains("activation_function") => {
                return Err(file.error("activation_function", "expected a string, found null"));
            }
            // So does sentence-transformers with a class that is not PyTorch's and would run the repository's code.
            Some(class) if !class.starts_with("torch.") => "Tanh",
            class => class.and_then(|class| class.rsplit('.').next()).unwrap_or("Tanh"),
        };
        Ok(Self {
            path: path.to_owned(),
            in_features: features("in_features")?,
            out_features: features("out_features")?,
            bias: file.boolean("bias")?.unwrap_or(true),
            activation: activation.to_owned(),
            residual: file.boolean("use_residual")?.unwrap_or(false),
            scores: file.text("module_output_name")? == Some("scores"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::folder;

    fn read(rest: &str) -> Result<DenseConfig> {
        let text = format!(r#"{{"in_features": 8, "out_features": 4{rest}}}"#);
        let (_root, folder) = folder(&[("2_Dense/config.json", &text)]);
        DenseConfig::read(&folder, "2_Dense")
    }

    #[test]
    fn what_is_left_out_is_tanh_with_bias() {
        let expected = DenseConfig {
            path: "2_Dense".into(),
            in_features: 8,
            out_features: 4,
            bias: true,
            activation: "Tanh".into(),
            scores: false,
            residual: false,
        };
        assert_eq!(read("").unwrap(), expected);
    }

    #[test]
    fn an_activation_is_known_by_its_class() {
        for (path, class) in [
            ("torch.nn.modules.linear.Identity", "Identity"),
            ("torch.nn.modules.activation.GELU", "GELU"),
            ("torch.nn.Tanh", "Tanh"),
            ("custom_st.Swish", "Tanh"),
            ("torchish.ReLU", "Tanh"),
        ] {
            assert_eq!(read(&format!(r#", "activation_function": "{path}""#)).unwrap().activation, class);
        }
    }

    #[test]
    fn reads_all_keys_and_ignores_unknown_ones() {
        let config = read(
            r#", "bias": false, "use_residual": true, "module_input_name": "sentence_embedding",
            "module_output_name": "scores", "gate": 3"#,
        )
        .unwrap();
        assert!(!config.bias && config.residual && config.scores);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (rest, expected) in [
            (r#", "activation_function": null"#, "activation_function: expected a string, found null"),
            (r#", "bias": 1"#, "bias: expected true or false, found 1"),
            (r#", "in_features": 0"#, "in_features: expected an integer from 1 to 1048576, found 0"),
            (
                r#", "module_input_name": "token_embeddings""#,
                "module_input_name: \"token_embeddings\" is not supported; \"sentence_embedding\" is",
            ),
            (
                r#", "module_output_name": "logits""#,
                "module_output_name: \"logits\" is not supported; \"sentence_embedding\" is",
            ),
        ] {
            assert_eq!(read(rest).unwrap_err().to_string(), format!("2_Dense/config.json: {expected}"));
        }
    }
}
