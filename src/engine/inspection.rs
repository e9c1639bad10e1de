//! What a model's files say of it, and which of them says it. Of weights only the headers are read, so that it takes no time and no
//! memory; whether all tensors fit the network is seen when it is loaded.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::Result;
use crate::config::{
    Architecture, CrossEncoderConfig, DenseConfig, Module, Object, PoolingConfig, Route, Scoring,
    SentenceTransformersConfig, StaticRules, TransformerConfig,
};
use crate::device::Device;
use crate::engine::network::open_weights;
use crate::files::{MAX_TOKENIZER_BYTES, ModelFolder, inside};
use crate::kernels::Dtype;
use crate::models::{Source, kind_of};
use crate::weights::{GgufFile, Weights, has_weights};

/// What a network's sizes are called: here, in config.json, and in GGUF files.
const SIZES: [(&str, [&str; 4], &str); 4] = [
    ("hidden_size", ["hidden_size", "n_embd", "dim", "d_model"], "embedding_length"),
    ("layers", ["num_hidden_layers", "n_layer", "n_layers", "num_layers"], "block_count"),
    ("heads", ["num_attention_heads", "n_head", "n_heads", "num_heads"], "attention.head_count"),
    ("intermediate_size", ["intermediate_size", "n_inner", "hidden_dim", "d_ff"], "feed_forward_length"),
];

/// The part of config.json that has the sizes where the whole has none.
const TEXT_PART: &str = "text_config";

/// All that is known of the model in `folder`, as JSON: see `votive/inspection.py`, which reads it.
///
/// # Errors
/// Those of loading, as far as files of JSON and the headers of weights cause them.
pub fn inspect(folder: &ModelFolder) -> Result<String> {
    let places = Places::new(folder)?;
    let (mut facts, routes) = match SentenceTransformersConfig::read(folder) {
        Ok(config) => embedder(folder, &places, config)?,
        // The former says what is wrong with the files of both.
        Err(error) => match CrossEncoderConfig::read(folder) {
            Ok(config) => reranker(folder, &places, config)?,
            Err(_) => return Err(error),
        },
    };
    let mut networks: Vec<Value> = Vec::new();
    for (i, route) in routes.iter().enumerate() {
        let network = match routes[..i].iter().position(|other| other == route) {
            Some(same) => networks[same].clone(),
            None => network(folder, &places, route)?,
        };
        networks.push(network);
    }
    facts["networks"] = networks.into();
    facts["folder"] = folder.root().to_string_lossy().into();
    facts["origin"] = json!(folder.origin().parts());
    facts["description_of"] = folder.description_of().into();
    facts["notes"] = folder.notes().into();
    facts["has_modules"] = folder.has("modules.json")?.into();
    facts["made_modules"] = (folder.made("modules.json").is_some() && places.gguf.is_some()).into();
    Ok(facts.to_string())
}

fn embedder(
    folder: &ModelFolder,
    places: &Places,
    mut config: SentenceTransformersConfig,
) -> Result<(Value, Vec<Route>)> {
    let mut tasks: Vec<String> = config.router.as_ref().map(|router| router.names().to_vec()).unwrap_or_default();
    let routes = config.routes.clone();
    if let ([Route { transformer, .. }], [_, ..]) = (&routes[..], &config.task_adapters[..])
        && Weights::open(folder, &transformer.path)?.has_task_adapters()
    {
        tasks = config.task_adapters.iter().map(|(name, _)| name.clone()).collect();
        config.add_task_routes();
    }
    let own = OwnFile::read(folder, config.converted_from.is_none())?;
    let is_reranker_too = !folder.has("modules.json")?
        && CrossEncoderConfig::read(folder).is_ok_and(|config| matches!(config.scoring, Scoring::Logits(_)));
    let facts = json!({
        "kind": "embedder",
        "tasks": tasks,
        "is_reranker_too": is_reranker_too,
        "prompts": config.prompts,
        "prompts_from": own.place(places, "prompts"),
        "default_prompt_name": config.default_prompt_name,
        "similarity_fn_name": config.similarity.name(),
        "similarity_from": own.place(places, "similarity_fn_name"),
        "truncate_dim": config.truncate_dim,
        "converted_from": config.converted_from,
    });
    Ok((facts, routes))
}

fn reranker(folder: &ModelFolder, places: &Places, config: CrossEncoderConfig) -> Result<(Value, Vec<Route>)> {
    let own = OwnFile::read(folder, true)?;
    let facts = json!({
        "kind": "reranker",
        "prompts": config.prompts,
        "prompts_from": own.place(places, "prompts"),
        "default_prompt_name": config.default_prompt_name,
        "num_labels": config.labels(),
        "activation_fn": config.activation_fn,
        "scoring": match &config.scoring {
            Scoring::Classifier { .. } => "classification head",
            Scoring::Modules { .. } => "modules",
            Scoring::Logits(_) => "logits of the next token",
        },
    });
    let modules = match config.scoring {
        Scoring::Modules { modules, .. } => modules,
        Scoring::Classifier { .. } | Scoring::Logits(_) => Vec::new(),
    };
    Ok((facts, vec![Route { transformer: config.transformer, modules }]))
}

/// config_sentence_transformers.json, which counts beside a modules.json alone.
struct OwnFile(Option<Object>);

impl OwnFile {
    fn read(folder: &ModelFolder, counts: bool) -> Result<Self> {
        let counts = counts && folder.has("modules.json")?;
        Ok(Self(if counts { Object::read(folder, "config_sentence_transformers.json")? } else { None }))
    }

    /// The place that says `key`; None where none does.
    fn place(&self, places: &Places, key: &str) -> Option<String> {
        let (file, key) = self.0.as_ref().filter(|own| own.contains(key))?.place(key);
        places.of(&file, &key, None)
    }
}

/// What is known of a network and of the modules after it.
fn network(folder: &ModelFolder, places: &Places, route: &Route) -> Result<Value> {
    let Route { transformer, modules } = route;
    let TransformerConfig { path, architecture, .. } = transformer;
    let weights = open_weights(folder, transformer)?;
    let body = Device::choose("cpu")?.body("float32", Dtype::Float32)?;
    let kind = kind_of(&Source::new(transformer, &weights, &body, 1))?;
    let mut files: Vec<String> = weights.files().map(str::to_owned).collect();
    let mut tensors = stored(&weights, "")?;
    for path in modules.iter().filter_map(weights_of) {
        let weights = Weights::open(folder, path)?;
        files.extend(weights.files().map(str::to_owned));
        tensors.extend(stored(&weights, path)?);
    }
    let (length, length_from) = match (&transformer.max_seq_length_from, transformer.static_rules) {
        (Some((file, key)), _) => (transformer.max_seq_length, places.of(file, key, Some("context_length"))),
        (None, Some(StaticRules::SentenceTransformers)) => {
            let file = inside(path, "tokenizer.json");
            (own_length(folder, &file)?, places.of(&file, "truncation", None))
        }
        (None, _) => (transformer.max_seq_length, None),
    };
    let config = inside(path, "config.json");
    Ok(json!({
        "path": path,
        "family": kind.name,
        "model_type": architecture.model_type,
        "model_type_from": places.of(&config, "model_type", Some("")),
        "sizes": sizes(places, &config, architecture),
        "is_quantized": weights.is_quantized(),
        "adapted": weights.merged(),
        "files": files,
        "tensors": tensors,
        "modules": modules.iter().map(|module| described(places, architecture, module)).collect::<Vec<_>>(),
        "max_seq_length": length,
        "max_seq_length_from": length_from,
        "positions": architecture.position_limit(),
        "positions_from": architecture
            .position_limit()
            .and_then(|_| places.of(&config, "max_position_embeddings", Some("context_length"))),
        "chat_template": transformer.chat_template.is_some(),
    }))
}

/// The subfolder with a module's weights.
fn weights_of(module: &Module) -> Option<&str> {
    match module {
        Module::Dense(DenseConfig { path, .. }) | Module::LayerNorm { path, .. } => Some(path),
        _ => None,
    }
}

/// Name, shape, storage and bytes of each tensor, and whether it is a weight; names of those of a module have its folder before them.
fn stored(weights: &Weights, path: &str) -> Result<Vec<Value>> {
    let stored = weights.stored()?.into_iter();
    let row = stored.map(|tensor| {
        json!([inside(path, &tensor.name), tensor.shape, tensor.storage, tensor.bytes, tensor.is_weight])
    });
    Ok(row.collect())
}

/// The sizes that the configuration says, each with the place that says it.
fn sizes(places: &Places, file: &str, architecture: &Architecture) -> Value {
    let config = &architecture.config;
    let part = config.object(TEXT_PART).ok().flatten();
    let size = |&(name, keys, in_gguf): &(&str, [&str; 4], &str)| {
        let objects = [Some(config), part.as_ref()];
        let mut found = objects.into_iter().flatten().flat_map(|object| keys.map(|key| (object, key)));
        // A key may mean another thing in a family that does not read it.
        let (size, (_, key)) =
            found.find_map(|(object, key)| Some((object.integer(key, 1..=usize::MAX).ok()??, object.place(key))))?;
        Some((name.to_owned(), json!([size, places.of(file, &key, Some(in_gguf))])))
    };
    Value::Object(SIZES.iter().filter_map(size).collect())
}

/// Class and details of a module, and the place that says them.
fn described(places: &Places, architecture: &Architecture, module: &Module) -> Value {
    let of = |path: &str, key: &str, in_gguf| places.of(&inside(path, "config.json"), key, in_gguf);
    let (class, details, from) = match module {
        Module::StaticEmbedding => ("StaticEmbedding", String::new(), None),
        Module::WordWeights(_) => ("WordWeights", String::new(), None),
        Module::Pooling(PoolingConfig { path, embedding_dimension, modes, include_prompt }) => {
            let without = if *include_prompt { "" } else { ", without the prompt's tokens" };
            let from = match embedding_dimension {
                Some(_) => {
                    let file = Object::read(places.folder, &inside(path, "config.json")).ok().flatten();
                    let is_named = file.is_none_or(|file| file.contains("pooling_mode"));
                    of(path, if is_named { "pooling_mode" } else { modes[0].flag() }, Some("pooling_type"))
                }
                // No file lists it.
                None => Some(format!("assumed by {}: architectures", architecture.config.place("").0)),
            };
            let modes: Vec<_> = modes.iter().map(|mode| mode.name()).collect();
            ("Pooling", modes.join("+") + without, from)
        }
        Module::Dense(dense) => {
            let DenseConfig { path, in_features, out_features, activation, .. } = dense;
            ("Dense", format!("{in_features} to {out_features}, {activation}"), of(path, "out_features", None))
        }
        Module::LayerNorm { path, dimension } => ("LayerNorm", dimension.to_string(), of(path, "dimension", None)),
        Module::Normalize => ("Normalize", String::new(), places.of("modules.json", "", None)),
        Module::Dropout => ("Dropout", String::new(), None),
        Module::LogitScore(_) => ("LogitScore", String::new(), None),
        Module::FlexibleQuantizer(codes) => ("FlexibleQuantizer", format!("{codes:?}").to_lowercase(), None),
    };
    json!([class, details, from])
}

/// The most tokens that a tokenizer.json cuts to.
fn own_length(folder: &ModelFolder, file: &str) -> Result<Option<usize>> {
    #[derive(Deserialize)]
    struct Cutting {
        truncation: Option<StoredTruncation>,
    }
    #[derive(Deserialize)]
    struct StoredTruncation {
        max_length: usize,
    }
    let text = folder.read(file, MAX_TOKENIZER_BYTES)?.unwrap_or_default();
    let cutting = serde_json::from_slice(&text).ok();
    Ok(cutting.and_then(|cutting: Cutting| cutting.truncation).map(|truncation| truncation.max_length))
}

/// Which file says a thing.
struct Places<'a> {
    folder: &'a ModelFolder,
    /// The GGUF file with the weights, and the name of its architecture.
    gguf: Option<(String, String)>,
}

impl<'a> Places<'a> {
    fn new(folder: &'a ModelFolder) -> Result<Self> {
        let parts = if has_weights(folder, "")? { Vec::new() } else { folder.gguf("")? };
        let Some((name, _)) = parts.first().cloned() else { return Ok(Self { folder, gguf: None }) };
        let file = GgufFile::open(parts)?;
        let architecture = file.header()?.metadata.text("general.architecture")?.unwrap_or_default().to_owned();
        Ok(Self { folder, gguf: Some((name, architecture)) })
    }

    /// `key` in `file`, wherever that is; None where no file says it. `in_gguf` is the architecture's key that it is made of, "" for
    /// the architecture itself.
    fn of(&self, file: &str, key: &str, in_gguf: Option<&str>) -> Option<String> {
        if self.folder.made(file).is_some() {
            let Some((name, architecture)) = &self.gguf else {
                return Some("what is known of its base model".to_owned());
            };
            return Some(match in_gguf? {
                "" => format!("{name}: general.architecture"),
                key => format!("{name}: {architecture}.{key}"),
            });
        }
        let found = self.folder.file(file).ok()??;
        let whose = match self.folder.description_of() {
            _ if found.starts_with(self.folder.root()) => String::new(),
            Some(base) => format!(" of {base}"),
            None => " of the base model".to_owned(),
        };
        Some(if key.is_empty() { format!("{file}{whose}") } else { format!("{file}{whose}: {key}") })
    }
}
