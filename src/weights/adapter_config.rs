//! adapter_config.json: how PEFT's LoRA is to be applied, and to which model.

use serde_json::{Map, Value};

use crate::files::{MAX_JSON_BYTES, ModelFolder, inside, read_file};
use crate::{Error, Result};

/// The file that says that weights beside it are an adapter's, in the folder of a Transformer.
pub(crate) const ADAPTER_FILE: &str = "adapter_config.json";

/// Kinds of LoRA that compute something else, by the key that asks for them.
const OTHER_KINDS: [&str; 13] = [
    "fan_in_fan_out",
    "use_dora",
    "lora_bias",
    "use_qalora",
    "use_bdlora",
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "megatron_config",
    "layer_replication",
    "target_parameters",
    "trainable_token_indices",
];

/// Beginnings of the names of initializations that change the base model's weights, too.
const CHANGES_OF_THE_BASE: [&str; 5] = ["pissa", "olora", "loftq", "corda", "lora_ga"];

/// adapter_config.json of a LoRA that votive applies.
pub(crate) struct AdapterConfig {
    /// The file's name relative to the model's folder.
    pub(super) file: String,
    /// The model that the adapter changes: a folder, or a name on the hub.
    pub(crate) base: Option<String>,
    /// The branch, tag or commit of it.
    pub(crate) base_revision: Option<String>,
    alpha: f64,
    /// Ends of the names of modules that have another alpha; the first that fits counts.
    alpha_pattern: Vec<(String, f64)>,
    /// Whether alpha is divided by the root of the rank and not by the rank (rsLoRA: <https://arxiv.org/abs/2312.03732>).
    by_root_of_rank: bool,
    /// Names of modules whose tensors are the adapter's own.
    pub(super) modules_to_save: Vec<String>,
}

impl AdapterConfig {
    /// Reads the file in the subfolder `path`; None where there is none.
    pub(crate) fn read(folder: &ModelFolder, path: &str) -> Result<Option<Self>> {
        let file = inside(path, ADAPTER_FILE);
        let Some(found) = folder.file(&file)? else { return Ok(None) };
        let json = read_file(&found, &file, MAX_JSON_BYTES)?;
        let keys: Map<String, Value> =
            serde_json::from_slice(&json).map_err(|error| Error::model(&file, format!("unreadable: {error}")))?;
        let place = inside(&folder.root().display().to_string(), path);
        let keys = Keys { file: &file, keys: &keys };
        keys.require_lora(place.trim_end_matches('/'))?;
        let alpha_pattern = keys.patterns("alpha_pattern")?;
        Ok(Some(Self {
            base: keys.text("base_model_name_or_path")?,
            base_revision: keys.text("revision")?,
            alpha: keys.number("lora_alpha")?.unwrap_or(8.0),
            alpha_pattern,
            by_root_of_rank: keys.flag("use_rslora")?,
            modules_to_save: keys.texts("modules_to_save")?,
            file,
        }))
    }

    /// What the product of `module`'s two matrices is multiplied by.
    pub(super) fn scale(&self, module: &str, rank: usize) -> f32 {
        let fits = |pattern: &str| match pattern.strip_prefix('^') {
            Some(whole) => module == whole,
            None => module.strip_suffix(pattern).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
        };
        let alpha =
            self.alpha_pattern.iter().find(|(pattern, _)| fits(pattern)).map_or(self.alpha, |&(_, alpha)| alpha);
        let rank = rank as f64;
        (alpha / if self.by_root_of_rank { rank.sqrt() } else { rank }) as f32
    }
}

/// The keys of the file.
struct Keys<'a> {
    file: &'a str,
    keys: &'a Map<String, Value>,
}

impl Keys<'_> {
    /// An error where the adapter is of a kind that votive does not apply; `place` is where a user would find it.
    fn require_lora(&self, place: &str) -> Result<()> {
        let refusal = |key: &str, message: &str| {
            let merging = format!(
                "{message}. Merge the adapter into its base model, where peft is installed:\n\
                 from peft import PeftModel; from sentence_transformers import SentenceTransformer\n\
                 model = SentenceTransformer(BASE)  # as base_model_name_or_path names it; or CrossEncoder(BASE)\n\
                 model[0].auto_model = PeftModel.from_pretrained(model[0].auto_model, {place:?}).merge_and_unload()\n\
                 model.save_pretrained(FOLDER)  # then copy modules.json, and what it names, where the adapter has its own"
            );
            Err(Error::model_key(self.file, key, merging))
        };
        match self.text("peft_type")?.as_deref() {
            Some("LORA") => {}
            Some(kind) => return refusal("peft_type", &format!("{kind:?} is not supported; \"LORA\" is")),
            None => return Err(self.error("peft_type", "missing")),
        }
        for key in OTHER_KINDS {
            let is_unset = match self.keys.get(key) {
                None | Some(Value::Null | Value::Bool(false)) => true,
                Some(Value::Array(values)) => values.is_empty(),
                Some(Value::Object(values)) => values.is_empty(),
                Some(_) => false,
            };
            if !is_unset {
                return refusal(key, "is not supported");
            }
        }
        match self.keys.get("init_lora_weights") {
            Some(Value::String(name)) if CHANGES_OF_THE_BASE.iter().any(|known| name.starts_with(known)) => {
                refusal("init_lora_weights", &format!("{name:?} changes the base model, which is not supported"))
            }
            _ => Ok(()),
        }
    }

    fn error(&self, key: &str, message: impl std::fmt::Display) -> Error {
        Error::model_key(self.file, key, message)
    }

    fn get<T>(&self, key: &str, expected: &str, read: impl FnOnce(&Value) -> Option<T>) -> Result<Option<T>> {
        match self.keys.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match read(value) {
                None => Err(self.error(key, format_args!("expected {expected}, found {value}"))),
                read => Ok(read),
            },
        }
    }

    fn text(&self, key: &str) -> Result<Option<String>> {
        self.get(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    fn flag(&self, key: &str) -> Result<bool> {
        Ok(self.get(key, "true or false", Value::as_bool)?.unwrap_or(false))
    }

    fn number(&self, key: &str) -> Result<Option<f64>> {
        self.get(key, "a number", Value::as_f64)
    }

    fn texts(&self, key: &str) -> Result<Vec<String>> {
        let read = |value: &Value| -> Option<Vec<String>> {
            value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
        };
        Ok(self.get(key, "strings", read)?.unwrap_or_default())
    }

    /// Numbers by the ends of modules' names. PEFT takes regular expressions, and writes such ends.
    fn patterns(&self, key: &str) -> Result<Vec<(String, f64)>> {
        let read = |value: &Value| -> Option<Vec<(String, f64)>> {
            value.as_object()?.iter().map(|(pattern, number)| Some((pattern.clone(), number.as_f64()?))).collect()
        };
        let patterns = self.get(key, "numbers by names of modules", read)?.unwrap_or_default();
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
        for (pattern, _) in &patterns {
            if !pattern.strip_prefix('^').unwrap_or(pattern).chars().all(is_plain) {
                let message = format!("{pattern:?} is a regular expression; ends of modules' names are supported");
                return Err(self.error(key, message));
            }
        }
        Ok(patterns)
    }
}
