//! BERT's config.json.

use crate::Result;
use crate::config::Object;
use crate::hub::{ModelFolder, inside};

/// The sizes of a BERT encoder. What config.json leaves out has transformers' default, the sizes of BERT-base.
#[derive(Debug, Clone, PartialEq)]
pub struct BertConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    /// Divides `hidden_size`.
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    /// A name of transformers' `ACT2FN`, not yet looked up.
    pub hidden_act: String,
    pub max_position_embeddings: usize,
    pub type_vocab_size: usize,
    pub layer_norm_eps: f32,
}

impl BertConfig {
    /// Reads config.json in the subfolder `path` ("" for the root).
    pub fn read(folder: &ModelFolder, path: &str) -> Result<Self> {
        let file = Object::require(folder, &inside(path, "config.json"))?;
        let size = |key: &str, most: usize, default: usize| -> Result<usize> {
            Ok(file.integer(key, 1..=most)?.unwrap_or(default))
        };
        let config = Self {
            vocab_size: size("vocab_size", 1 << 24, 30_522)?,
            hidden_size: size("hidden_size", 1 << 16, 768)?,
            num_hidden_layers: size("num_hidden_layers", 1 << 10, 12)?,
            num_attention_heads: size("num_attention_heads", 1 << 10, 12)?,
            intermediate_size: size("intermediate_size", 1 << 20, 3072)?,
            hidden_act: file.text("hidden_act")?.unwrap_or("gelu").to_owned(),
            max_position_embeddings: size("max_position_embeddings", 1 << 24, 512)?,
            type_vocab_size: size("type_vocab_size", 1 << 16, 2)?,
            layer_norm_eps: file.number("layer_norm_eps")?.unwrap_or(1e-12) as f32,
        };
        if !config.hidden_size.is_multiple_of(config.num_attention_heads) {
            let (heads, hidden) = (config.num_attention_heads, config.hidden_size);
            return Err(file.error("num_attention_heads", format!("{heads} does not divide hidden_size, {hidden}")));
        }
        if !(0.0..1.0).contains(&config.layer_norm_eps) {
            return Err(file.error("layer_norm_eps", format!("expected 0 to 1, found {}", config.layer_norm_eps)));
        }
        if let Some(positions) = file.text("position_embedding_type")?.filter(|&name| name != "absolute") {
            let message = format!("\"{positions}\" is not supported; \"absolute\" is");
            return Err(file.error("position_embedding_type", message));
        }
        if file.boolean("is_decoder")? == Some(true) {
            return Err(file.error("is_decoder", "a BERT that looks only backwards is not supported"));
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::folder;

    fn read(text: &str) -> Result<BertConfig> {
        let (_root, folder) = folder(&[("0_Transformer/config.json", text)]);
        BertConfig::read(&folder, "0_Transformer")
    }

    #[test]
    fn reads_minilm() {
        let text = r#"{"architectures": ["BertModel"], "attention_probs_dropout_prob": 0.1, "hidden_act": "gelu",
            "hidden_size": 384, "intermediate_size": 1536, "layer_norm_eps": 1e-12, "max_position_embeddings": 512,
            "model_type": "bert", "num_attention_heads": 12, "num_hidden_layers": 6, "pad_token_id": 0,
            "position_embedding_type": "absolute", "type_vocab_size": 2, "use_cache": true, "vocab_size": 30522}"#;
        let expected = BertConfig {
            vocab_size: 30_522,
            hidden_size: 384,
            num_hidden_layers: 6,
            num_attention_heads: 12,
            intermediate_size: 1536,
            hidden_act: "gelu".into(),
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
        };
        assert_eq!(read(text).unwrap(), expected);
    }

    #[test]
    fn what_is_left_out_is_bert_base() {
        let base = read("{}").unwrap();
        assert_eq!((base.hidden_size, base.num_hidden_layers, base.num_attention_heads), (768, 12, 12));
        assert_eq!((base.intermediate_size, base.hidden_act.as_str()), (3072, "gelu"));
    }

    #[test]
    fn impossible_sizes_are_refused_by_name() {
        for (text, key) in [
            (r#"{"hidden_size": 0}"#, "hidden_size"),
            (r#"{"hidden_size": 1152921504606846976}"#, "hidden_size"),
            (r#"{"hidden_size": 1e300}"#, "hidden_size"),
            (r#"{"hidden_size": "768"}"#, "hidden_size"),
            (r#"{"vocab_size": -1}"#, "vocab_size"),
            (r#"{"num_hidden_layers": 4294967296}"#, "num_hidden_layers"),
            (r#"{"num_attention_heads": 0}"#, "num_attention_heads"),
            (r#"{"num_attention_heads": 7}"#, "num_attention_heads"),
            (r#"{"intermediate_size": []}"#, "intermediate_size"),
            (r#"{"max_position_embeddings": 0}"#, "max_position_embeddings"),
            (r#"{"type_vocab_size": 0}"#, "type_vocab_size"),
            (r#"{"layer_norm_eps": -1.0}"#, "layer_norm_eps"),
            (r#"{"layer_norm_eps": 1e300}"#, "layer_norm_eps"),
            (r#"{"hidden_act": {"name": "gelu"}}"#, "hidden_act"),
            (r#"{"position_embedding_type": "alibi"}"#, "position_embedding_type"),
            (r#"{"is_decoder": true}"#, "is_decoder"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.starts_with(&format!("0_Transformer/config.json: {key}: ")), "{message}");
        }
    }
}
