//! The Transformer module: how texts become tokens, and at most how many.

use crate::Result;
use crate::config::tokenizer::max_length;
use crate::config::{Architecture, ChatTemplateConfig, Object, TaskAdapter, TokenizerConfig};
use crate::files::{ModelFolder, inside};

/// Names of the module's file, of which the first that holds any key counts.
const FILES: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// What a Transformer gives for a text, as transformers names its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransformerTask {
    /// Hidden states.
    FeatureExtraction,
    /// The scores of a classification head.
    SequenceClassification,
    /// Logits of the next token.
    TextGeneration,
}

impl TransformerTask {
    /// Name, what it gives and what of the network's output that is, as the module's file calls them.
    const NAMES: [(Self, &'static str, &'static str, &'static str); 3] = [
        (Self::FeatureExtraction, "feature-extraction", "token_embeddings", "last_hidden_state"),
        (Self::SequenceClassification, "sequence-classification", "scores", "logits"),
        (Self::TextGeneration, "text-generation", "causal_logits", "logits"),
    ];
}

/// Whose rules make the tokens of a static embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaticRules {
    SentenceTransformers,
    Model2vec,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TransformerConfig {
    pub task: TransformerTask,
    /// The subfolder with config.json, tokenizer and weights; "" for the model's own.
    pub path: String,
    pub architecture: Architecture,
    /// In tokens, with the special ones; `None` for no limit.
    pub max_seq_length: Option<usize>,
    /// The file and the key that say so.
    pub max_seq_length_from: Option<(String, String)>,
    /// Whether texts are lowercased before anything else is done to them, unless the tokenizer does that already.
    pub do_lower_case: bool,
    pub tokenizer: TokenizerConfig,
    /// What is put around a text or a pair; None where they go in as they are.
    pub chat_template: Option<ChatTemplateConfig>,
    /// Whether a file of the module's own was saved with the model, so that nothing is left to guess.
    pub is_saved: bool,
    /// By whose rules texts become the tokens of a static embedding; None where there is a network.
    pub static_rules: Option<StaticRules>,
    /// What is added to the weights; None for the weights alone.
    pub task_adapter: Option<TaskAdapter>,
}

impl TransformerConfig {
    /// Reads the module's own file, config.json and tokenizer_config.json in the subfolder `path`.
    pub(super) fn read(folder: &ModelFolder, path: &str) -> Result<Self> {
        for name in FILES {
            match Object::read(folder, &inside(path, name))? {
                Some(file) if !file.is_empty() => return Self::of_file(folder, path, &file, true),
                _ => {}
            }
        }
        Self::of_file(folder, path, &Object::empty(), true)
    }

    /// The module as sentence-transformers makes it when no modules.json asks for it: its own file does not count then.
    pub(super) fn without_file(folder: &ModelFolder, path: &str) -> Result<Self> {
        Self::of_file(folder, path, &Object::empty(), false)
    }

    fn of_file(folder: &ModelFolder, path: &str, file: &Object, is_saved: bool) -> Result<Self> {
        let task = task(file)?;
        refuse_unsupported(file, task)?;
        let arguments = renamed(file, "processor_kwargs", "tokenizer_args")?.unwrap_or_else(Object::empty);
        let architecture = Architecture::read(folder, path)?;
        let tokenizer = TokenizerConfig::read(folder, path, &architecture, &arguments)?;
        let named = |object: &Object, key: &str| -> Result<Option<SourcedLength>> {
            Ok(max_length(object, key)?.map(|length| (length, object.place(key))))
        };
        let explicit = match named(&arguments, "model_max_length")? {
            None => named(file, "max_seq_length")?,
            length => length,
        };
        let of_tokenizer = tokenizer
            .model_max_length
            .map(|length| (length, (inside(path, "tokenizer_config.json"), "model_max_length".to_owned())));
        let (max_seq_length, max_seq_length_from) = max_seq_length(explicit, of_tokenizer, &architecture).unzip();
        Ok(Self {
            task,
            path: path.to_owned(),
            max_seq_length,
            max_seq_length_from,
            do_lower_case: file.boolean("do_lower_case")?.unwrap_or(false),
            chat_template: chat_template(folder, path, file, is_saved)?,
            is_saved,
            static_rules: None,
            task_adapter: None,
            architecture,
            tokenizer,
        })
    }

    /// A static embedding in the subfolder `path`, which has a table in the place of a network: of its files tokenizer.json alone
    /// says what tokens are.
    pub(super) fn of_static(path: String, config: Object, rules: StaticRules, max_seq_length: Option<usize>) -> Self {
        Self {
            task: TransformerTask::FeatureExtraction,
            path,
            max_seq_length,
            max_seq_length_from: config.contains("max_length").then(|| config.place("max_length")),
            do_lower_case: false,
            chat_template: None,
            is_saved: true,
            static_rules: Some(rules),
            task_adapter: None,
            architecture: Architecture::of_static(config),
            tokenizer: TokenizerConfig::default(),
        }
    }
}

/// The most tokens of a text: `explicit`, what the module's own file says, else the lesser of what the tokenizer and
/// what config.json says.
///
/// sentence-transformers lets a text be longer than a learned table of positions, and fails on it; here the table is a
/// limit in any case. (RoBERTa says 514 and means 512.)
fn max_seq_length(
    explicit: Option<SourcedLength>,
    of_tokenizer: Option<SourcedLength>,
    architecture: &Architecture,
) -> Option<SourcedLength> {
    let lesser = |a: Option<SourcedLength>, b: Option<SourcedLength>| a.into_iter().chain(b).min_by_key(|(n, _)| *n);
    let of_network = |length| (length, architecture.config.place("max_position_embeddings"));
    let length = explicit.or_else(|| lesser(of_tokenizer, architecture.max_position_embeddings.map(of_network)));
    lesser(length, architecture.position_limit().map(of_network))
}

/// A number of tokens with the file and the key that it is from.
type SourcedLength = (usize, (String, String));

/// The template in use: where the module's file names messages among what the model takes, and where no file says what it takes
/// and the tokenizer has a template.
fn chat_template(
    folder: &ModelFolder,
    path: &str,
    file: &Object,
    is_saved: bool,
) -> Result<Option<ChatTemplateConfig>> {
    let Some(modalities) = file.object("modality_config")? else {
        return if is_saved { Ok(None) } else { ChatTemplateConfig::read(folder, path, "auto") };
    };
    let Some(message) = modalities.object("message")? else { return Ok(None) };
    if let Some(processing) = file.object("processing_kwargs")?
        && let Some(arguments) = processing.object("chat_template")?
    {
        refuse_keys(&arguments, &[])?;
    }
    let template = ChatTemplateConfig::read(folder, path, message.text("format")?.unwrap_or("auto"))?;
    let missing = || modalities.error("message", "the tokenizer has no chat template to write messages with");
    template.map(Some).ok_or_else(missing)
}

/// The object `key`, or what older files call `old`.
fn renamed(file: &Object, key: &str, old: &str) -> Result<Option<Object>> {
    file.object(if file.contains(old) { old } else { key })
}

fn task(file: &Object) -> Result<TransformerTask> {
    let Some(task) = file.text("transformer_task")? else { return Ok(TransformerTask::FeatureExtraction) };
    TransformerTask::NAMES.iter().find(|known| known.1 == task).map(|known| known.0).ok_or_else(|| {
        let names = TransformerTask::NAMES.map(|known| known.1).join(", ");
        file.error("transformer_task", format!("\"{task}\" is not supported; {names} are"))
    })
}

/// What would change the vectors if it were ignored.
fn refuse_unsupported(file: &Object, task: TransformerTask) -> Result<()> {
    let (_, _, gives, takes) = TransformerTask::NAMES[task as usize];
    if let Some(output) = file.text("module_output_name")?.filter(|&output| output != gives) {
        return Err(file.error("module_output_name", format!("\"{output}\" is not supported; \"{gives}\" is")));
    }
    if let Some(modalities) = file.object("modality_config")? {
        let text = modalities.required("text", modalities.object("text")?)?;
        for modality in [Some(text), modalities.object("message")?].iter().flatten() {
            for (key, supported) in [("method", "forward"), ("method_output_name", takes)] {
                let value = modality.required(key, modality.text(key)?)?;
                if value != supported {
                    return Err(modality.error(key, format!("\"{value}\" is not supported; \"{supported}\" is")));
                }
            }
        }
    }
    for key in ["query_expansion", "query_length", "document_length", "tokenizer_name_or_path"] {
        if !file.is_null(key) {
            return Err(file.error(key, "not supported"));
        }
    }
    if let Some(arguments) = renamed(file, "config_kwargs", "config_args")? {
        refuse_keys(&arguments, &["trust_remote_code"])?;
    }
    if let Some(processing) = file.object("processing_kwargs")? {
        for modality in ["text", "common"] {
            if let Some(arguments) = processing.object(modality)? {
                refuse_keys(&arguments, &["padding", "return_tensors"])?;
            }
        }
    }
    Ok(())
}

fn refuse_keys(object: &Object, without_effect: &[&str]) -> Result<()> {
    match object.keys().find(|key| !without_effect.contains(key)) {
        Some(key) => Err(object.error(key, "not supported")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TruncationSide;
    use crate::config::testing::folder;

    const BERT: (&str, &str) = ("config.json", r#"{"model_type": "bert", "max_position_embeddings": 128}"#);
    const ROBERTA: (&str, &str) =
        ("config.json", r#"{"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}"#);
    const ROTARY: (&str, &str) = ("config.json", r#"{"model_type": "nomic_bert", "max_position_embeddings": 2048}"#);
    const UNLIMITED: (&str, &str) = ("config.json", r#"{"model_type": "xlnet", "max_position_embeddings": -1}"#);

    fn read(files: &[(&str, &str)]) -> Result<TransformerConfig> {
        let (_root, folder) = folder(files);
        TransformerConfig::read(&folder, "")
    }

    #[test]
    fn the_maximum_length() {
        let tokens = |n: &'static str| ("tokenizer_config.json", n);
        let own = |n: &'static str| ("sentence_bert_config.json", n);
        for (files, expected) in [
            // The module's own file counts before the tokenizer's.
            (vec![BERT, own(r#"{"max_seq_length": 100}"#), tokens(r#"{"model_max_length": 64}"#)], Some(100)),
            (vec![ROTARY, own(r#"{"max_seq_length": 8192}"#), tokens(r#"{"model_max_length": 64}"#)], Some(8192)),
            (vec![BERT, own(r#"{"processor_kwargs": {"model_max_length": 32}, "max_seq_length": 64}"#)], Some(32)),
            (vec![BERT, own(r#"{"tokenizer_args": {"model_max_length": 32}}"#)], Some(32)),
            // Without it, the lesser of the tokenizer's and the network's.
            (vec![BERT, own(r#"{"max_seq_length": null}"#), tokens(r#"{"model_max_length": 64}"#)], Some(64)),
            (vec![BERT, tokens(r#"{"model_max_length": 512}"#)], Some(128)),
            (vec![BERT, tokens(r#"{"model_max_length": 1e30}"#)], Some(128)),
            (vec![BERT], Some(128)),
            (vec![ROTARY, tokens(r#"{"model_max_length": 8192}"#)], Some(2048)),
            (vec![UNLIMITED, tokens(r#"{"model_max_length": 700}"#)], Some(700)),
            (vec![UNLIMITED], None),
            // A table of positions is never left.
            (vec![ROBERTA], Some(512)),
            (vec![ROBERTA, tokens(r#"{"model_max_length": 512}"#)], Some(512)),
            (vec![ROBERTA, own(r#"{"max_seq_length": 514}"#)], Some(512)),
            (vec![BERT, own(r#"{"max_seq_length": 8192}"#)], Some(128)),
        ] {
            assert_eq!(read(&files).unwrap().max_seq_length, expected, "{files:?}");
        }
    }

    #[test]
    fn the_file_has_six_other_names() {
        for name in &FILES[1..] {
            let config =
                read(&[BERT, ("sentence_bert_config.json", "{}"), (name, r#"{"max_seq_length": 7}"#)]).unwrap();
            assert_eq!(config.max_seq_length, Some(7), "{name}");
        }
        let both = [(FILES[2], r#"{"max_seq_length": 7}"#), (FILES[6], r#"{"max_seq_length": 9}"#), BERT];
        assert_eq!(read(&both).unwrap().max_seq_length, Some(7));
    }

    #[test]
    fn reads_all_keys_in_its_folder() {
        let own = r#"{"do_lower_case": true, "transformer_task": "feature-extraction", "unpad_inputs": false,
            "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
            "module_output_name": "token_embeddings", "model_args": {"torch_dtype": "float16"}, "query_length": null,
            "processor_kwargs": {"truncation_side": "left"}, "config_args": {"trust_remote_code": true},
            "processing_kwargs": {"text": {"padding": "longest"}, "chat_template": {"add_generation_prompt": true}}}"#;
        let (_root, folder) = folder(&[("0/config.json", BERT.1), ("0/sentence_bert_config.json", own)]);
        let config = TransformerConfig::read(&folder, "0").unwrap();
        assert!(config.do_lower_case);
        assert_eq!(config.path, "0");
        assert_eq!(config.tokenizer.truncation_side, Some(TruncationSide::Left));
        assert_eq!(config.architecture.model_type, "bert");
        assert!(!TransformerConfig::without_file(&folder, "0").unwrap().do_lower_case);
    }

    #[test]
    fn what_would_change_the_vectors_is_refused() {
        for (own, expected) in [
            (r#"{"max_seq_length": "long"}"#, "max_seq_length: expected a number, found \"long\""),
            (r#"{"do_lower_case": 1}"#, "do_lower_case: expected true or false, found 1"),
            (
                r#"{"transformer_task": "fill-mask"}"#,
                "transformer_task: \"fill-mask\" is not supported; feature-extraction, sequence-classification, text-generation are",
            ),
            (
                r#"{"module_output_name": "scores"}"#,
                "module_output_name: \"scores\" is not supported; \"token_embeddings\" is",
            ),
            (
                r#"{"modality_config": {"text": {"method": "forward", "method_output_name": "pooler_output"}}}"#,
                "modality_config.text.method_output_name: \"pooler_output\" is not supported; \"last_hidden_state\" is",
            ),
            (r#"{"modality_config": {"message": {}}}"#, "modality_config.text: missing"),
            (
                r#"{"modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"},
                    "message": {"method": "forward", "method_output_name": "last_hidden_state"}},
                    "processing_kwargs": {"chat_template": {"add_generation_prompt": true}}}"#,
                "processing_kwargs.chat_template.add_generation_prompt: not supported",
            ),
            (
                r#"{"modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}, "message": {"method": "forward", "method_output_name": "last_hidden_state"}}}"#,
                "modality_config.message: the tokenizer has no chat template to write messages with",
            ),
            (r#"{"modality_config": {"image": {}}}"#, "modality_config.text: missing"),
            (r#"{"query_length": 32}"#, "query_length: not supported"),
            (r#"{"tokenizer_name_or_path": "other/model"}"#, "tokenizer_name_or_path: not supported"),
            (r#"{"config_kwargs": {"is_causal": false}}"#, "config_kwargs.is_causal: not supported"),
            (
                r#"{"processing_kwargs": {"text": {"max_length": 9}}}"#,
                "processing_kwargs.text.max_length: not supported",
            ),
            (r#"{"processor_kwargs": []}"#, "processor_kwargs: expected an object, found a list of 0"),
        ] {
            let message = read(&[BERT, ("sentence_bert_config.json", own)]).unwrap_err().to_string();
            assert_eq!(message, format!("sentence_bert_config.json: {expected}"));
        }
        let missing = read(&[]).unwrap_err().to_string();
        assert!(missing.starts_with("config.json is missing in "), "{missing}");
    }
}
