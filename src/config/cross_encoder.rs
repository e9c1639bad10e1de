//! A cross-encoder's folder: what makes its scores, and its habits.

use std::collections::BTreeMap;

use crate::config::transformer::TransformerTask;
use crate::config::{LogitScoreConfig, Module, Object, TransformerConfig, modules, sentence_transformers};
use crate::files::ModelFolder;
use crate::{Error, Result};

/// The number of labels that transformers assumes where config.json names none.
const DEFAULT_LABELS: usize = 2;

/// The most labels of a classifier: beyond any real one.
const MAX_LABELS: usize = 1 << 20;

/// How the network's hidden states become scores.
#[derive(Debug, Clone, PartialEq)]
pub enum Scoring {
    /// By the head of a checkpoint that was saved from a classifier.
    Classifier { labels: usize },
    /// By modules like an embedding model's, the last of which gives scores.
    Modules { modules: Vec<Module>, labels: usize },
    /// By logits of the next token; None for those that the model's family has for "yes" and "no".
    Logits(Option<LogitScoreConfig>),
}

/// What a folder says about everything around the network.
#[derive(Debug, Clone, PartialEq)]
pub struct CrossEncoderConfig {
    pub transformer: TransformerConfig,
    pub scoring: Scoring,
    /// A dotted path in PyTorch; None where no file names one.
    pub activation_fn: Option<String>,
    /// By name.
    pub prompts: BTreeMap<String, String>,
    pub default_prompt_name: Option<String>,
}

impl CrossEncoderConfig {
    /// Reads a folder that sentence-transformers' CrossEncoder wrote, or that only holds a classifier or a causal language model
    /// and its tokenizer.
    pub fn read(folder: &ModelFolder) -> Result<Self> {
        let file = Object::read(folder, sentence_transformers::FILE)?.unwrap_or_else(Object::empty);
        let (transformer, modules, file) = match modules::read_one(folder)? {
            Some((path, modules)) => {
                if file.text("model_type")? != Some("CrossEncoder") {
                    let message = "describes an embedding model, not a cross-encoder; use Embedder";
                    return Err(Error::model(modules::FILE, message));
                }
                if modules.contains(&Module::StaticEmbedding) {
                    return Err(Error::model(modules::FILE, "a StaticEmbedding gives no scores; use Embedder"));
                }
                (TransformerConfig::read(folder, &path)?, Some(modules), file)
            }
            // sentence-transformers does not read the class's own file then.
            None => (TransformerConfig::without_file(folder, "")?, None, Object::empty()),
        };
        let config = &transformer.architecture.config;
        let scoring = match modules {
            Some(modules) => listed(transformer.task, modules, config)?,
            None if transformer.architecture.is_causal_lm() => Scoring::Logits(None),
            None => Scoring::Classifier { labels: labels(config)? },
        };
        Ok(Self {
            activation_fn: activation_fn(&file, config)?,
            prompts: sentence_transformers::prompts(&file)?,
            default_prompt_name: file.text("default_prompt_name")?.map(str::to_owned),
            transformer,
            scoring,
        })
    }

    /// How many scores a pair gets.
    pub fn labels(&self) -> usize {
        match self.scoring {
            Scoring::Classifier { labels } | Scoring::Modules { labels, .. } => labels,
            Scoring::Logits(_) => 1,
        }
    }

    /// What the scores are called: by config.json, else `LABEL_0` and so on.
    pub fn label_names(&self) -> Vec<String> {
        let named = self.transformer.architecture.config.object("id2label").ok().flatten();
        let name = |label: usize| Some(named.as_ref()?.text(&label.to_string()).ok()??.to_owned());
        (0..self.labels()).map(|label| name(label).unwrap_or_else(|| format!("LABEL_{label}"))).collect()
    }
}

/// The scoring of the modules after the Transformer.
fn listed(task: TransformerTask, modules: Vec<Module>, config: &Object) -> Result<Scoring> {
    match (task, &modules[..]) {
        (TransformerTask::SequenceClassification, []) => Ok(Scoring::Classifier { labels: labels(config)? }),
        (TransformerTask::TextGeneration, &[Module::LogitScore(logits)]) => Ok(Scoring::Logits(Some(logits))),
        (TransformerTask::FeatureExtraction, [.., Module::Dense(dense)]) if dense.scores => {
            let labels = dense.out_features;
            Ok(Scoring::Modules { modules, labels })
        }
        _ => {
            let message = "gives no scores: expected a Transformer for sequence-classification, one for text-generation and a \
                LogitScore, or one for feature-extraction, a Pooling and a Dense with \"module_output_name\": \"scores\"";
            Err(Error::model(modules::FILE, message))
        }
    }
}

/// How many labels config.json names or counts.
fn labels(config: &Object) -> Result<usize> {
    let named = config.object("id2label")?.map(|names| names.keys().count());
    let counted = config.integer("num_labels", 1..=MAX_LABELS)?;
    match named.or(counted).unwrap_or(DEFAULT_LABELS) {
        0 => Err(config.error("id2label", "names no label")),
        labels => Ok(labels),
    }
}

/// The first that is there of the class's own file, config.json, and config.json as versions before 4 wrote it. A function that is
/// not PyTorch's would be the repository's code, and counts as none.
fn activation_fn(file: &Object, config: &Object) -> Result<Option<String>> {
    let torch = |path: Option<&str>| path.filter(|path| path.starts_with("torch.")).map(str::to_owned);
    if let Some(path) = torch(file.text("activation_fn")?) {
        return Ok(Some(path));
    }
    let nested = config.object("sentence_transformers")?.filter(|object| object.contains("activation_fn"));
    match nested {
        Some(nested) => Ok(torch(nested.text("activation_fn")?)),
        None => Ok(torch(config.text("sbert_ce_default_activation_function")?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::folder;

    const FILE: &str = sentence_transformers::FILE;
    const OURS: (&str, &str) = (FILE, r#"{"model_type": "CrossEncoder"}"#);

    fn read(files: &[(&str, &str)]) -> Result<CrossEncoderConfig> {
        let (_root, folder) = folder(files);
        CrossEncoderConfig::read(&folder)
    }

    fn bert(rest: &str) -> String {
        format!(r#"{{"model_type": "bert", "architectures": ["BertForSequenceClassification"]{rest}}}"#)
    }

    #[test]
    fn labels_are_named_or_counted() {
        for (rest, labels) in [
            (r#", "id2label": {"0": "LABEL_0"}"#, 1),
            (r#", "num_labels": 3"#, 3),
            (r#", "num_labels": 3, "id2label": {"0": "a"}"#, 1),
            ("", 2),
        ] {
            let config = read(&[("config.json", &bert(rest))]).unwrap();
            assert_eq!(config.scoring, Scoring::Classifier { labels }, "{rest}");
            assert_eq!(config.labels(), labels);
        }
        let names = |rest: &str| read(&[("config.json", &bert(rest))]).unwrap().label_names();
        assert_eq!(names(r#", "id2label": {"0": "no", "1": "yes"}"#), ["no", "yes"]);
        assert_eq!(names(r#", "id2label": {"1": "yes", "2": 5}"#), ["LABEL_0", "yes"]);
        assert_eq!(names(r#", "num_labels": 2"#), ["LABEL_0", "LABEL_1"]);
        let message = read(&[("config.json", &bert(r#", "id2label": {}"#))]).unwrap_err().to_string();
        assert_eq!(message, "config.json: id2label: names no label");
    }

    #[test]
    fn the_first_activation_counts() {
        let own = r#"{"model_type": "CrossEncoder", "activation_fn": "torch.nn.Tanh"}"#;
        let nested = r#", "sentence_transformers": {"activation_fn": "torch.nn.Identity"}"#;
        let legacy = r#", "sbert_ce_default_activation_function": "torch.nn.Sigmoid""#;
        let modules = ("modules.json", r#"[{"path": "", "type": "Transformer"}]"#);
        let task = ("sentence_bert_config.json", r#"{"transformer_task": "sequence-classification"}"#);
        let both = format!("{nested}{legacy}");
        let of =
            |own, rest: &str| read(&[("config.json", &bert(rest)), modules, task, (FILE, own)]).unwrap().activation_fn;
        assert_eq!(of(own, &both).as_deref(), Some("torch.nn.Tanh"));
        assert_eq!(of(OURS.1, &both).as_deref(), Some("torch.nn.Identity"));
        assert_eq!(of(OURS.1, legacy).as_deref(), Some("torch.nn.Sigmoid"));
        assert_eq!(of(OURS.1, r#", "sbert_ce_default_activation_function": "other.Function""#), None);
        assert_eq!(of(OURS.1, ""), None);
        // Without modules.json the class's own file does not count.
        assert_eq!(read(&[("config.json", &bert("")), (FILE, own)]).unwrap().activation_fn, None);
    }

    #[test]
    fn modules_say_what_makes_scores() {
        let transformer = r#"{"path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"}"#;
        let causal = ("config.json", r#"{"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}"#);
        let logit = format!(r#"[{transformer}, {{"path": "1_LogitScore", "type": "a.LogitScore"}}]"#);
        let config = read(&[
            causal,
            OURS,
            ("modules.json", &logit),
            (
                "sentence_bert_config.json",
                r#"{"transformer_task": "text-generation", "modality_config": {"text": {"method": "forward", "method_output_name": "logits"},
                    "message": {"method": "forward", "method_output_name": "logits"}}}"#,
            ),
            ("1_LogitScore/config.json", r#"{"true_token_id": 9, "false_token_id": 4}"#),
            ("chat_template.jinja", "{{ messages }}"),
        ]);
        let ids = LogitScoreConfig { true_token_id: 9, false_token_id: Some(4) };
        assert_eq!(config.unwrap().scoring, Scoring::Logits(Some(ids)));
        assert_eq!(read(&[causal]).unwrap().scoring, Scoring::Logits(None));

        let bert = bert("");
        let dense = format!(
            r#"[{transformer}, {{"path": "1_Pooling", "type": "a.Pooling"}}, {{"path": "2_Dense", "type": "a.Dense"}}]"#
        );
        let pooled = |output: &str| {
            let config = format!(r#"{{"in_features": 8, "out_features": 3, "module_output_name": "{output}"}}"#);
            let pooling = ("1_Pooling/config.json", r#"{"embedding_dimension": 8, "pooling_mode": "cls"}"#);
            read(&[("config.json", &bert), OURS, ("modules.json", &dense), pooling, ("2_Dense/config.json", &config)])
        };
        assert_eq!(pooled("scores").unwrap().labels(), 3);
        let message = pooled("sentence_embedding").unwrap_err().to_string();
        assert!(message.starts_with("modules.json: gives no scores: "), "{message}");
    }

    #[test]
    fn an_embedding_model_is_refused() {
        let modules = ("modules.json", r#"[{"path": "", "type": "Transformer"}, {"path": "", "type": "Normalize"}]"#);
        let message = read(&[("config.json", &bert("")), modules]).unwrap_err().to_string();
        assert_eq!(message, "modules.json: describes an embedding model, not a cross-encoder; use Embedder");
    }
}
