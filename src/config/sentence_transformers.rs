//! The whole of a sentence-transformers folder: its modules, its prompts and its habits.

use std::collections::BTreeMap;

use crate::config::features::MAX_FEATURES;
use crate::config::router::RETRIEVAL_TASKS;
use crate::config::{
    Module, Object, PoolingConfig, PoolingMode, Router, TaskAdapter, TransformerConfig, modules, static_embedding,
    task_adapters,
};
use crate::files::ModelFolder;
use crate::{Error, Result};

pub(super) const FILE: &str = "config_sentence_transformers.json";

/// How two embeddings are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SimilarityFunction {
    #[default]
    Cosine,
    Dot,
    Euclidean,
    Manhattan,
}

impl SimilarityFunction {
    const NAMES: [(Self, &'static str); 4] =
        [(Self::Cosine, "cosine"), (Self::Dot, "dot"), (Self::Euclidean, "euclidean"), (Self::Manhattan, "manhattan")];

    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|known| known.1 == name).map(|known| known.0)
    }

    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].1
    }
}

/// What a text goes through.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub transformer: TransformerConfig,
    /// What follows the Transformer, in order.
    pub modules: Vec<Module>,
}

/// What a folder says about everything around the network.
#[derive(Debug, Clone, PartialEq)]
pub struct SentenceTransformersConfig {
    /// One, or one for each route of the Router.
    pub routes: Vec<Route>,
    /// Which of them a text takes.
    pub router: Option<Router>,
    /// Tasks that the checkpoint of the only route may hold adapters for.
    pub task_adapters: Vec<(String, TaskAdapter)>,
    /// By name; "query" and "document" are always there.
    pub prompts: BTreeMap<String, String>,
    /// May name a prompt that the caller is still to give.
    pub default_prompt_name: Option<String>,
    pub similarity: SimilarityFunction,
    /// The class that the folder was saved from, where it is another one whose modules do not count here: "SparseEncoder", say.
    pub converted_from: Option<String>,
    /// How much of an embedding is kept. More than there is means all of it.
    pub truncate_dim: Option<usize>,
}

impl SentenceTransformersConfig {
    /// Reads a folder that sentence-transformers wrote, or that only holds a network and its tokenizer.
    ///
    /// The latter, and a folder of one of the other classes of sentence-transformers (a SparseEncoder, say), gives the
    /// Transformer and mean pooling, or the last token of a causal language model. Nothing is taken over then from the
    /// files that describe modules and prompts: they belong to another model. A CrossEncoder is refused: what its network
    /// gives alone means nothing.
    pub fn read(folder: &ModelFolder) -> Result<Self> {
        let file = Object::read(folder, FILE)?.unwrap_or_else(Object::empty);
        if file.text("model_type")? == Some("CrossEncoder") {
            return Err(file.error("model_type", "the model is a cross-encoder; use Reranker"));
        }
        let converted_from =
            file.text("model_type")?.filter(|&class| class != "SentenceTransformer").map(str::to_owned);
        let listed = if converted_from.is_none() { modules::read(folder)? } else { None };
        let unlisted = if listed.is_none() { static_embedding::unlisted(folder)? } else { None };
        let (routes, router, file) = match (listed, unlisted) {
            (Some((router, chains)), _) => {
                let scores = |module: &Module| matches!(module, Module::Dense(dense) if dense.scores);
                if chains.iter().any(|(_, modules)| modules.iter().any(scores)) {
                    return Err(Error::model(modules::FILE, "gives scores, as a cross-encoder does; use Reranker"));
                }
                let route = |(path, modules): (String, Vec<Module>)| -> Result<Route> {
                    let transformer = match modules.first() {
                        Some(Module::StaticEmbedding) => static_embedding::listed(path),
                        _ => TransformerConfig::read(folder, &path)?,
                    };
                    Ok(Route { transformer, modules })
                };
                (chains.into_iter().map(route).collect::<Result<_>>()?, router, file)
            }
            (None, Some((transformer, modules))) => (vec![Route { transformer, modules }], None, Object::empty()),
            (None, None) => {
                let transformer = TransformerConfig::without_file(folder, "")?;
                if let Some(class) = transformer.architecture.classifier() {
                    let message = format!("{class} is a cross-encoder or another classifier; use Reranker");
                    return Err(Error::model_key("config.json", "architectures", message));
                }
                let causal = transformer.architecture.looks_backwards();
                let mode = if causal { PoolingMode::LastToken } else { PoolingMode::Mean };
                let modules = vec![Module::Pooling(PoolingConfig::of_mode(mode))];
                (vec![Route { transformer, modules }], None, Object::empty())
            }
        };
        let task_adapters = match (&routes[..], &router) {
            ([Route { transformer, .. }], None) => task_adapters::read(&transformer.architecture)?,
            _ => Vec::new(),
        };
        Ok(Self {
            routes,
            router,
            task_adapters,
            prompts: query_and_document(prompts(&file)?),
            default_prompt_name: file.text("default_prompt_name")?.map(str::to_owned),
            // A name of another class ("maxsim") does not count.
            similarity: file.text("similarity_fn_name")?.and_then(SimilarityFunction::named).unwrap_or_default(),
            converted_from,
            truncate_dim: file.integer("truncate_dim", 1..=MAX_FEATURES)?,
        })
    }

    /// Gives each of the tasks a route, for a checkpoint that holds their adapters. The prompts of retrieval's tasks become those of
    /// queries and documents, where these have none.
    pub fn add_task_routes(&mut self) {
        let plain = self.routes[0].clone();
        let adapted = |adapter: TaskAdapter| {
            let transformer = TransformerConfig { task_adapter: Some(adapter), ..plain.transformer.clone() };
            Route { transformer, ..plain.clone() }
        };
        let routes: Vec<_> = self.task_adapters.iter().map(|&(_, adapter)| adapted(adapter)).collect();
        self.routes = [routes, vec![plain]].concat();
        self.router = Some(Router::of_tasks(self.task_adapters.iter().map(|(name, _)| name.clone()).collect()));
        for (usual, task) in RETRIEVAL_TASKS {
            let prompt = self.prompts.get(task).cloned().unwrap_or_default();
            self.prompts.entry(usual.to_owned()).and_modify(|own| {
                if own.is_empty() {
                    *own = prompt;
                }
            });
        }
    }

    /// Has the tokens of prompts not pooled with those of texts.
    pub fn exclude_prompts(&mut self) {
        for module in self.routes.iter_mut().flat_map(|route| &mut route.modules) {
            if let Module::Pooling(pooling) = module {
                pooling.include_prompt = false;
            }
        }
    }
}

/// The prompts in a class's own file, by name.
pub(super) fn prompts(file: &Object) -> Result<BTreeMap<String, String>> {
    let mut prompts = BTreeMap::new();
    if let Some(saved) = file.object("prompts")? {
        for name in saved.keys() {
            prompts.insert(name.to_owned(), saved.text(name)?.unwrap_or_default().to_owned());
        }
    }
    Ok(prompts)
}

fn query_and_document(mut prompts: BTreeMap<String, String>) -> BTreeMap<String, String> {
    for name in ["query", "document"] {
        prompts.entry(name.to_owned()).or_default();
    }
    prompts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::folder;

    const BERT: (&str, &str) = ("config.json", r#"{"model_type": "bert", "architectures": ["BertModel"]}"#);
    const MODULES: (&str, &str) = (
        "modules.json",
        r#"[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]"#,
    );
    const OWN: (&str, &str) = ("sentence_bert_config.json", r#"{"max_seq_length": 100, "do_lower_case": true}"#);

    fn read(files: &[(&str, &str)]) -> Result<SentenceTransformersConfig> {
        let (_root, folder) = folder(files);
        SentenceTransformersConfig::read(&folder)
    }

    fn pooling(mode: PoolingMode) -> Vec<Module> {
        vec![Module::Pooling(PoolingConfig::of_mode(mode))]
    }

    fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect()
    }

    #[test]
    fn a_saved_model() {
        let saved = r#"{"__version__": {"sentence_transformers": "6.2.0"}, "model_type": "SentenceTransformer",
            "prompts": {"query": "q: ", "passage": null, "none": ""}, "default_prompt_name": "query",
            "similarity_fn_name": "dot", "truncate_dim": 64}"#;
        let config = read(&[BERT, MODULES, OWN, (FILE, saved)]).unwrap();
        assert_eq!(config.routes[0].transformer.max_seq_length, Some(100));
        assert!(config.routes[0].transformer.do_lower_case);
        assert_eq!(config.routes[0].modules, [Module::Normalize]);
        assert_eq!(config.prompts, texts(&[("query", "q: "), ("document", ""), ("passage", ""), ("none", "")]));
        assert_eq!(config.default_prompt_name.as_deref(), Some("query"));
        assert_eq!(config.similarity, SimilarityFunction::Dot);
        assert_eq!(config.truncate_dim, Some(64));
    }

    #[test]
    fn without_the_file_all_is_default() {
        for file in ["{}", r#"{"prompts": null, "default_prompt_name": null, "similarity_fn_name": null}"#] {
            let config = read(&[BERT, MODULES, (FILE, file)]).unwrap();
            assert_eq!(config, read(&[BERT, MODULES]).unwrap());
            assert_eq!(config.prompts, texts(&[("query", ""), ("document", "")]));
            assert_eq!(config.default_prompt_name, None);
            assert_eq!(config.similarity, SimilarityFunction::Cosine);
            assert_eq!(config.truncate_dim, None);
        }
    }

    #[test]
    fn a_plain_folder_is_pooled_by_the_mean_and_its_other_files_do_not_count() {
        let config = read(&[BERT, OWN, (FILE, r#"{"prompts": {"query": "q: "}, "truncate_dim": 3}"#)]).unwrap();
        assert_eq!(config.routes[0].modules, pooling(PoolingMode::Mean));
        assert_eq!(config.prompts, texts(&[("query", ""), ("document", "")]));
        assert_eq!((config.routes[0].transformer.max_seq_length, config.truncate_dim), (Some(512), None));
        assert!(!config.routes[0].transformer.do_lower_case);
    }

    #[test]
    fn a_plain_causal_language_model_gives_its_last_token() {
        for (rest, mode) in [("", PoolingMode::LastToken), (r#", "is_causal": false"#, PoolingMode::Mean)] {
            let text = format!(r#"{{"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]{rest}}}"#);
            assert_eq!(read(&[("config.json", &text)]).unwrap().routes[0].modules, pooling(mode));
        }
    }

    #[test]
    fn a_cross_encoder_is_refused() {
        let saved = read(&[BERT, MODULES, (FILE, r#"{"model_type": "CrossEncoder"}"#)]).unwrap_err().to_string();
        assert!(saved.starts_with("config_sentence_transformers.json: model_type: "), "{saved}");
        let plain = r#"{"model_type": "bert", "architectures": ["BertForSequenceClassification"]}"#;
        let plain = read(&[("config.json", plain)]).unwrap_err().to_string();
        assert!(plain.contains("BertForSequenceClassification") && plain.contains("Reranker"), "{plain}");
    }

    #[test]
    fn a_model_of_another_class_is_converted() {
        let saved = r#"{"model_type": "SparseEncoder", "prompts": {"query": "q: "}, "similarity_fn_name": "dot"}"#;
        let config = read(&[BERT, MODULES, OWN, (FILE, saved)]).unwrap();
        assert_eq!(config.converted_from.as_deref(), Some("SparseEncoder"));
        assert_eq!(SentenceTransformersConfig { converted_from: None, ..config.clone() }, read(&[BERT]).unwrap());
        assert_eq!(config.routes[0].modules, pooling(PoolingMode::Mean));
    }

    #[test]
    fn tasks_with_adapters_get_routes_and_prompts() {
        let config =
            r#"{"model_type": "xlm-roberta", "lora_adaptations": ["retrieval.query", "separation"], "lora_alpha": 2}"#;
        let saved = r#"{"prompts": {"retrieval.query": "find: ", "separation": "part: "}}"#;
        let mut config = read(&[("config.json", config), MODULES, (FILE, saved)]).unwrap();
        assert_eq!((config.routes.len(), &config.router, &config.prompts["query"][..]), (1, &None, ""));
        config.add_task_routes();
        let adapters: Vec<_> = config.routes.iter().map(|route| route.transformer.task_adapter).collect();
        let adapter = |place| Some(TaskAdapter { place, tasks: 2, alpha: 2.0 });
        assert_eq!(adapters, [adapter(0), adapter(1), None]);
        assert_eq!(config.router.unwrap().route(Some("query")).unwrap(), 0);
        assert_eq!((&config.prompts["query"][..], &config.prompts["document"][..]), ("find: ", ""));

        for (keys, expected) in [
            (r#""lora_adaptations": ["a", "a"]"#, "lora_adaptations: names \"a\" twice"),
            (r#""lora_adaptations": "a""#, "lora_adaptations: expected a list of strings"),
            (r#""lora_alpha": "1""#, "lora_alpha: expected a number"),
        ] {
            let text = format!(r#"{{"model_type": "xlm-roberta", {keys}}}"#);
            let message = read(&[("config.json", &text), MODULES]).unwrap_err().to_string();
            assert!(message.starts_with(&format!("config.json: {expected}")), "{message}");
        }
    }

    #[test]
    fn similarity_functions_have_names() {
        for (function, name) in SimilarityFunction::NAMES {
            assert_eq!((SimilarityFunction::named(name), function.name()), (Some(function), name));
        }
        let config = read(&[BERT, MODULES, (FILE, r#"{"similarity_fn_name": "maxsim"}"#)]).unwrap();
        assert_eq!(config.similarity, SimilarityFunction::Cosine);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            (r#"{"prompts": {"query": 3}}"#, "prompts.query: expected a string, found 3"),
            (r#"{"prompts": ["q"]}"#, "prompts: expected an object, found a list of 1"),
            (r#"{"truncate_dim": -1}"#, "truncate_dim: expected an integer from 1 to 1048576, found -1"),
            (r#"{"model_type": false}"#, "model_type: expected a string, found false"),
        ] {
            let message = read(&[BERT, MODULES, (FILE, text)]).unwrap_err().to_string();
            assert_eq!(message, format!("config_sentence_transformers.json: {expected}"));
        }
        assert!(matches!(read(&[]).unwrap_err(), Error::NotFound { .. }));
    }
}
