//! Which network a model is, from its config.json.

use crate::Result;
use crate::config::{Object, quantization};
use crate::files::{ModelFolder, inside};
use crate::weights::Quantization;

/// config.json, and the part of it that every architecture shares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Architecture {
    /// The whole of config.json.
    pub config: Object,
    /// "bert", "xlm-roberta", "qwen3", ...
    pub model_type: String,
    /// The class that the weights were saved from, first: "BertModel", "BertForMaskedLM", ...
    pub architectures: Vec<String>,
    /// Whether tokens see only what is before them, in a network of a kind that looks only backwards unless it is told otherwise.
    is_causal: bool,
    /// `None` where config.json sets no limit.
    pub max_position_embeddings: Option<usize>,
    /// The class that config.json names for the tokenizer; tokenizer_config.json has the last word.
    pub tokenizer_class: Option<String>,
    /// How many positions of a learned table lie before the first token's.
    position_offset: Option<usize>,
    /// How the weights are quantized; None where they are not.
    pub quantization: Option<Quantization>,
}

impl Architecture {
    /// Reads config.json in the subfolder `path` ("" for the root).
    pub fn read(folder: &ModelFolder, path: &str) -> Result<Self> {
        let file = Object::require(folder, &inside(path, "config.json"))?;
        let architectures: Vec<String> =
            file.texts("architectures")?.unwrap_or_default().into_iter().map(str::to_owned).collect();
        let model_type = model_type(&file, &architectures)?.to_owned();
        let quantization = quantization::read(&file)?;
        // An `is_causal` that is present and null counts as false in Python, and so it does here.
        let is_causal = !file.contains("is_causal") || file.boolean("is_causal")?.unwrap_or(false);
        // XLNet says "no limit" with -1.
        let mut max_position_embeddings = match file.number("max_position_embeddings")? {
            Some(-1.0) => None,
            _ => file.integer("max_position_embeddings", 1..=MAX_POSITIONS)?,
        };
        // Beyond the positions that it was trained for Ministral 3 scales its queries, which votive does not.
        if model_type == "ministral3" {
            let trained = match file.object("rope_parameters")? {
                Some(rope) => rope.integer("original_max_position_embeddings", 1..=MAX_POSITIONS)?,
                None => None,
            };
            max_position_embeddings = trained.or(max_position_embeddings);
        }
        // RoBERTa counts positions from behind the padding token's id, and MPNet, which fixes that id, from 2.
        let position_offset = match model_type.as_str() {
            _ if !has_position_table(&file)? => None,
            "bert" | "distilbert" | "electra" | "ernie" | "ministral3" => Some(0),
            "deberta-v2" if file.boolean("position_biased_input")?.unwrap_or(true) => Some(0),
            "mpnet" => Some(2),
            "roberta" | "xlm-roberta" | "xlm-roberta-xl" | "camembert" => {
                Some(file.integer("pad_token_id", 0..=MAX_POSITIONS)?.unwrap_or(1) + 1)
            }
            _ => None,
        };
        if let Some(offset) = position_offset {
            let positions = *max_position_embeddings.get_or_insert(512);
            if positions <= offset {
                let message =
                    format!("expected more than the {offset} that come before a text's first, found {positions}");
                return Err(file.error("max_position_embeddings", message));
            }
        }
        Ok(Self {
            max_position_embeddings,
            tokenizer_class: file.text("tokenizer_class")?.map(str::to_owned),
            model_type,
            architectures,
            is_causal,
            position_offset,
            quantization,
            config: file,
        })
    }

    /// A static embedding, of which config.json says at most what its maker noted.
    pub(super) fn of_static(config: Object) -> Self {
        Self {
            config: config.with_text("model_type", STATIC_TYPE),
            model_type: STATIC_TYPE.to_owned(),
            architectures: Vec::new(),
            is_causal: false,
            max_position_embeddings: None,
            tokenizer_class: None,
            position_offset: None,
            quantization: None,
        }
    }

    /// Whether the weights come from a causal language model.
    pub fn is_causal_lm(&self) -> bool {
        self.architectures.first().is_some_and(|name| name.ends_with("ForCausalLM"))
    }

    /// Whether they do, and it still looks only backwards.
    pub fn looks_backwards(&self) -> bool {
        self.is_causal && self.is_causal_lm()
    }

    /// The class that the weights were saved from, if it has a classification head.
    pub fn classifier(&self) -> Option<&str> {
        self.architectures.first().map(String::as_str).filter(|class| class.ends_with("ForSequenceClassification"))
    }

    /// The most tokens that a text may have because positions come from a learned table; `None` where they do not.
    pub fn position_limit(&self) -> Option<usize> {
        Some(self.max_position_embeddings? - self.position_offset?)
    }
}

/// The `model_type`. The code that jina-reranker-v2 was published with writes none: there the names of its classes say it.
fn model_type<'a>(file: &'a Object, architectures: &[String]) -> Result<&'a str> {
    if let Some(name) = file.text("model_type")? {
        return Ok(name);
    }
    let auto_map = file.object("auto_map")?.unwrap_or_else(Object::empty);
    let config_class = auto_map.text("AutoConfig")?.and_then(|path| path.rsplit('.').next());
    let is_xlm_roberta = |class: &str| class.starts_with("XLMRoberta");
    match config_class.is_some_and(is_xlm_roberta) || architectures.iter().any(|class| is_xlm_roberta(class)) {
        true => Ok("xlm-roberta"),
        false => Err(file.error("model_type", "missing")),
    }
}

/// Whether positions may be rows of a learned table, in a network that has one unless it is told otherwise.
fn has_position_table(file: &Object) -> Result<bool> {
    Ok(!matches!(file.text("position_embedding_type")?, Some("rotary" | "alibi")))
}

/// The `model_type` of static embeddings.
pub(super) const STATIC_TYPE: &str = "model2vec";

/// The most positions of a text, or tokens of a vocabulary: beyond what any model has, and far below what would overflow.
const MAX_POSITIONS: usize = 1 << 24;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::folder;

    fn read(text: &str) -> Result<Architecture> {
        let (_root, folder) = folder(&[("config.json", text)]);
        Architecture::read(&folder, "")
    }

    #[test]
    fn reads_what_the_registry_asks_for() {
        let bert = read(r#"{"model_type": "bert", "architectures": ["BertModel"], "tokenizer_class": "T"}"#).unwrap();
        assert_eq!((bert.model_type.as_str(), bert.architectures[0].as_str()), ("bert", "BertModel"));
        assert_eq!(bert.tokenizer_class.as_deref(), Some("T"));
        assert!(!bert.looks_backwards());
        assert_eq!(read(r#"{"hidden_size": 3}"#).unwrap_err().to_string(), "config.json: model_type: missing");
        let quantized = |what: &str| read(&format!(r#"{{"model_type": "bert", {what}}}"#));
        assert!(quantized(r#""quantization": {"group_size": 64, "bits": 4}"#).unwrap().quantization.is_some());
        let message = quantized(r#""quantization_config": {"quant_method": "hqq"}"#).unwrap_err().to_string();
        assert!(
            message.starts_with("config.json: quantization_config: weights quantized by hqq are not read"),
            "{message}"
        );
        assert_eq!(
            read(r#"{"model_type": "bert", "max_position_embeddings": 1152921504606846976}"#).unwrap_err().to_string(),
            "config.json: max_position_embeddings: expected an integer from 1 to 16777216, found 1152921504606846976"
        );
    }

    #[test]
    fn a_type_that_is_missing_is_that_of_the_classes() {
        let model_type = |text: &str| read(text).map(|architecture| architecture.model_type);
        for text in [
            r#"{"auto_map": {"AutoConfig": "configuration_xlm_roberta.XLMRobertaFlashConfig"}}"#,
            r#"{"architectures": ["XLMRobertaForSequenceClassification"]}"#,
        ] {
            assert_eq!(model_type(text).unwrap(), "xlm-roberta");
        }
        for text in ["{}", r#"{"model_type": null, "architectures": ["BertModel"], "auto_map": {"AutoConfig": "a.B"}}"#]
        {
            assert_eq!(model_type(text).unwrap_err().to_string(), "config.json: model_type: missing");
        }
        let wrong = model_type(r#"{"auto_map": {"AutoConfig": 1}}"#).unwrap_err().to_string();
        assert_eq!(wrong, "config.json: auto_map.AutoConfig: expected a string, found 1");
    }

    #[test]
    fn a_causal_language_model_is_one_unless_is_causal_says_no() {
        let causal = |rest: &str| {
            read(&format!(r#"{{"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]{rest}}}"#))
                .unwrap()
                .looks_backwards()
        };
        assert!(causal(""));
        assert!(causal(r#", "is_causal": true"#));
        assert!(!causal(r#", "is_causal": false"#));
        assert!(!causal(r#", "is_causal": null"#));
        assert!(!read(r#"{"model_type": "qwen3", "architectures": ["Qwen3Model"]}"#).unwrap().looks_backwards());
        assert!(!read(r#"{"model_type": "qwen3"}"#).unwrap().looks_backwards());
    }

    #[test]
    fn a_learned_table_limits_the_tokens() {
        let limit = |text: &str| read(text).unwrap().position_limit();
        assert_eq!(limit(r#"{"model_type": "bert", "max_position_embeddings": 128}"#), Some(128));
        assert_eq!(limit(r#"{"model_type": "bert"}"#), Some(512));
        assert_eq!(
            limit(r#"{"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1}"#),
            Some(512)
        );
        assert_eq!(limit(r#"{"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 0}"#), Some(513));
        assert_eq!(limit(r#"{"model_type": "mpnet", "max_position_embeddings": 514}"#), Some(512));
        assert_eq!(limit(r#"{"model_type": "camembert"}"#), Some(510));
        // DeBERTa has no such table where positions are in the scores of attention alone.
        assert_eq!(limit(r#"{"model_type": "deberta-v2"}"#), Some(512));
        assert_eq!(
            limit(r#"{"model_type": "deberta-v2", "position_biased_input": false, "max_position_embeddings": 512}"#),
            None
        );
        let ministral3 = r#"{"model_type": "ministral3", "max_position_embeddings": 262144,
            "rope_parameters": {"original_max_position_embeddings": 16384}}"#;
        assert_eq!(limit(ministral3), Some(16_384));
        // Positions that are no rows know no end.
        assert_eq!(limit(r#"{"model_type": "xlm-roberta", "position_embedding_type": "rotary"}"#), None);
        assert_eq!(
            limit(r#"{"model_type": "bert", "position_embedding_type": "alibi", "max_position_embeddings": 8192}"#),
            None
        );
        assert_eq!(limit(r#"{"model_type": "nomic_bert", "max_position_embeddings": 2048}"#), None);
        assert_eq!(limit(r#"{"model_type": "xlnet", "max_position_embeddings": -1}"#), None);
        assert_eq!(
            read(r#"{"model_type": "roberta", "max_position_embeddings": 2}"#).unwrap_err().to_string(),
            "config.json: max_position_embeddings: expected more than the 2 that come before a text's first, found 2"
        );
    }
}
