//! modules.json: what a text's token vectors go through.

use crate::config::features::{MAX_FEATURES, refuse_other_features};
use crate::config::router::{RouteModule, Router};
use crate::config::{DenseConfig, Object, PoolingConfig};
use crate::files::{ModelFolder, inside};
use crate::{Error, Result};

pub(super) const FILE: &str = "modules.json";
const SUPPORTED: &str = "Transformer, StaticEmbedding, Pooling, Dense, Normalize, LayerNorm, Dropout, WordWeights, LogitScore, FlexibleQuantizer and Router";

/// One of the modules that follow the Transformer, with its configuration; or what stands in its place.
#[derive(Debug, Clone, PartialEq)]
pub enum Module {
    /// Stands first, in the place of a Transformer: the mean of the tokens' rows of a table.
    StaticEmbedding,
    WordWeights(WordWeightsConfig),
    Pooling(PoolingConfig),
    Dense(DenseConfig),
    LayerNorm {
        /// The subfolder with the weights.
        path: String,
        dimension: usize,
    },
    Normalize,
    /// Does nothing outside training.
    Dropout,
    LogitScore(LogitScoreConfig),
    FlexibleQuantizer(TanhCodes),
}

/// What pplx-embed's own module `FlexibleQuantizer` makes of an embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TanhCodes {
    /// Whole numbers from -127 to 127.
    Int8,
    /// 1 and -1.
    Binary,
}

impl TanhCodes {
    /// The kind that config.json in `path` names; whole numbers without such a file.
    fn read(folder: &ModelFolder, path: &str) -> Result<Self> {
        let Some(file) = Object::read(folder, &inside(path, "config.json"))? else { return Ok(Self::Int8) };
        match file.text("quantization")?.unwrap_or("int8") {
            "int8" => Ok(Self::Int8),
            "binary" => Ok(Self::Binary),
            other => Err(file.error("quantization", format!("\"{other}\" is not supported; int8 and binary are"))),
        }
    }
}

/// The logits of the token that follows a text which make its score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogitScoreConfig {
    pub true_token_id: u32,
    /// What is subtracted.
    pub false_token_id: Option<u32>,
}

impl LogitScoreConfig {
    fn read(folder: &ModelFolder, path: &str) -> Result<Self> {
        let file = Object::require(folder, &inside(path, "config.json"))?;
        let id = |key| Ok::<_, Error>(file.integer(key, 0..=MAX_TOKENS)?.map(|id| id as u32));
        let true_token_id = file.required("true_token_id", id("true_token_id")?)?;
        Ok(Self { true_token_id, false_token_id: id("false_token_id")? })
    }
}

/// The most tokens of a vocabulary: beyond any real one.
const MAX_TOKENS: usize = 1 << 24;

/// What the modules of modules.json are for a text: the subfolder of the first, a Transformer or a StaticEmbedding, and the modules
/// after a Transformer, or all where there is none.
pub(super) type Chain = (String, Vec<Module>);

/// modules.json of `folder`: one chain, or one for each route of the Router among them. `None` if there is no such file.
pub(super) fn read(folder: &ModelFolder) -> Result<Option<(Option<Router>, Vec<Chain>)>> {
    let Some(entries) = Object::read_list(folder, FILE)? else { return Ok(None) };
    let mut router = None;
    let mut chains = vec![ListedModules::default()];
    for entry in &entries {
        let class = entry.required("type", entry.text("type")?)?;
        let path = subfolder(entry)?;
        if !matches!(class.rsplit('.').next(), Some("Router" | "Asym")) {
            let error = |message: &str| entry.error("type", message);
            let module = Listed { class, path: &path, error: &error };
            chains.iter_mut().try_for_each(|chain| chain.add(folder, &module))?;
            continue;
        }
        if router.is_some() {
            return Err(entry.error("type", "a second Router is not supported"));
        }
        let (rules, routes) = Router::read(folder, &path)?;
        router = Some(rules);
        let before = chains.pop().unwrap_or_default();
        for modules in routes {
            let mut chain = before.clone();
            for RouteModule { class, path, refusal } in &modules {
                chain.add(folder, &Listed { class, path, error: refusal })?;
            }
            chains.push(chain);
        }
    }
    let empty = || Error::model(FILE, "lists no modules");
    let chains =
        chains.into_iter().map(|chain| -> Result<Chain> { Ok((chain.first.ok_or_else(empty)?, chain.modules)) });
    Ok(Some((router, chains.collect::<Result<_>>()?)))
}

/// As [`read`], for a class that has no tasks.
pub(super) fn read_one(folder: &ModelFolder) -> Result<Option<Chain>> {
    match read(folder)? {
        Some((Some(_), _)) => Err(Error::model(FILE, "has a Router, which only an embedding model has here")),
        Some((None, mut chains)) => Ok(chains.pop()),
        None => Ok(None),
    }
}

/// A module as a file lists it.
struct Listed<'a> {
    class: &'a str,
    path: &'a str,
    /// What is wrong with its class.
    error: &'a dyn Fn(&str) -> Error,
}

/// Modules that were read one after the other.
#[derive(Clone, Default)]
struct ListedModules {
    /// The subfolder of the first.
    first: Option<String>,
    modules: Vec<Module>,
}

impl ListedModules {
    fn add(&mut self, folder: &ModelFolder, &Listed { class, path, error }: &Listed) -> Result<()> {
        // The package has moved its classes between modules three times: only the class's own name has stayed.
        let kind = class.rsplit('.').next().unwrap_or(class);
        if self.first.is_none() {
            match kind {
                "Transformer" => {}
                "StaticEmbedding" => self.modules.push(Module::StaticEmbedding),
                _ => {
                    let message =
                        format!("\"{class}\" comes first; only a Transformer or a StaticEmbedding is supported there");
                    return Err(error(&message));
                }
            }
            self.first = Some(path.to_owned());
            return Ok(());
        }
        self.modules.push(match kind {
            "Transformer" | "StaticEmbedding" => {
                return Err(error(&format!("a {kind} after the first module is not supported")));
            }
            "Pooling" => Module::Pooling(PoolingConfig::read(folder, path)?),
            "Dense" => Module::Dense(DenseConfig::read(folder, path)?),
            "LayerNorm" => layer_norm(folder, path.to_owned())?,
            "WordWeights" => Module::WordWeights(WordWeightsConfig::read(folder, path)?),
            "Normalize" => normalize(folder, path)?,
            "Dropout" => Module::Dropout,
            "LogitScore" => Module::LogitScore(LogitScoreConfig::read(folder, path)?),
            "FlexibleQuantizer" => Module::FlexibleQuantizer(TanhCodes::read(folder, path)?),
            _ => return Err(error(&format!("\"{class}\" is not supported; {SUPPORTED} are"))),
        });
        Ok(())
    }
}

/// The subfolder of a module, which may not lead out of the model's folder on any system: `\` and `C:` count too.
fn subfolder(entry: &Object) -> Result<String> {
    let path = entry.required("path", entry.text("path")?)?;
    let rooted = path.starts_with(['/', '\\']) || path.as_bytes().get(1) == Some(&b':');
    if rooted || path.contains('\0') || path.split(['/', '\\']).any(|part| part == "..") {
        let message = format!("expected a folder inside the model's folder, found \"{}\"", path.escape_debug());
        return Err(entry.error("path", message));
    }
    Ok(path.trim_end_matches('/').to_owned())
}

fn layer_norm(folder: &ModelFolder, path: String) -> Result<Module> {
    let file = Object::require(folder, &inside(&path, "config.json"))?;
    let dimension = file.required("dimension", file.integer("dimension", 1..=MAX_FEATURES)?)?;
    Ok(Module::LayerNorm { path, dimension })
}

fn normalize(folder: &ModelFolder, path: &str) -> Result<Module> {
    if let Some(file) = Object::read(folder, &inside(path, "config.json"))? {
        refuse_other_features(&file, false)?;
    }
    Ok(Module::Normalize)
}

/// A weight for every token id, as inverse document frequencies are.
#[derive(Debug, Clone, PartialEq)]
pub struct WordWeightsConfig {
    /// `[vocabulary]`
    pub weights: Vec<f32>,
    /// Weight of an id that the vocabulary lacks.
    pub unknown_word_weight: f32,
}

impl WordWeightsConfig {
    /// Reads config.json in `path`. The weights are looked up there, by word: sentence-transformers saves them as a
    /// tensor too, and does not read it.
    fn read(folder: &ModelFolder, path: &str) -> Result<Self> {
        let file = Object::require(folder, &inside(path, "config.json"))?;
        let vocab = file.required("vocab", file.texts("vocab")?)?;
        let words = file.required("word_weights", file.object("word_weights")?)?;
        let unknown_word_weight = file.number("unknown_word_weight")?.unwrap_or(1.0) as f32;
        let mut weights = Vec::with_capacity(vocab.len());
        for word in vocab {
            let weight = match words.number(word)? {
                Some(weight) => Some(weight),
                None => words.number(&word.to_lowercase())?,
            };
            weights.push(weight.map_or(unknown_word_weight, |weight| weight as f32));
        }
        Ok(Self { weights, unknown_word_weight })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PoolingMode;
    use crate::config::testing::folder;

    const POOLING: (&str, &str) = ("1_Pooling/config.json", r#"{"word_embedding_dimension": 8}"#);

    fn modules(list: &[(&str, &str)]) -> String {
        let entry = |(i, (class, path)): (usize, &(&str, &str))| {
            format!(r#"{{"idx": {i}, "name": "{i}", "type": "{class}", "path": "{path}", "kwargs": []}}"#)
        };
        format!("[{}]", list.iter().enumerate().map(entry).collect::<Vec<_>>().join(","))
    }

    fn read_with(list: &[(&str, &str)], files: &[(&str, &str)]) -> Result<Option<Chain>> {
        let text = modules(list);
        let (_root, folder) = folder(&[&[(FILE, text.as_str())], files].concat());
        read_one(&folder)
    }

    fn refusal(list: &[(&str, &str)]) -> String {
        read_with(list, &[POOLING]).unwrap_err().to_string()
    }

    #[test]
    fn no_file_is_none() {
        let (_root, folder) = folder(&[]);
        assert_eq!(read_one(&folder).unwrap(), None);
    }

    #[test]
    fn a_class_is_known_by_its_last_part() {
        let expected = vec![
            Module::Pooling(PoolingConfig {
                path: "1_Pooling".into(),
                embedding_dimension: Some(8),
                modes: vec![PoolingMode::Mean],
                include_prompt: true,
            }),
            Module::Normalize,
        ];
        for [transformer, pooling, normalize] in [
            [
                "sentence_transformers.models.Transformer",
                "sentence_transformers.models.Pooling",
                "sentence_transformers.models.Normalize",
            ],
            [
                "sentence_transformers.models.Transformer.Transformer",
                "sentence_transformers.models.Pooling.Pooling",
                "Normalize",
            ],
            [
                "sentence_transformers.base.modules.transformer.Transformer",
                "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
                "sentence_transformers.base.modules.normalize.Normalize",
            ],
        ] {
            let list = [(transformer, ""), (pooling, "1_Pooling"), (normalize, "2_Normalize")];
            assert_eq!(read_with(&list, &[POOLING]).unwrap(), Some((String::new(), expected.clone())));
        }
    }

    #[test]
    fn the_transformer_may_have_a_folder() {
        let read = read_with(&[("Transformer", "0_Transformer/")], &[]).unwrap();
        assert_eq!(read, Some(("0_Transformer".to_owned(), vec![])));
    }

    #[test]
    fn a_static_embedding_is_a_module_itself() {
        let list = [("sentence_transformers.models.StaticEmbedding", "0_StaticEmbedding"), ("Normalize", "1")];
        let expected = vec![Module::StaticEmbedding, Module::Normalize];
        assert_eq!(read_with(&list, &[]).unwrap(), Some(("0_StaticEmbedding".to_owned(), expected)));
    }

    #[test]
    fn what_is_not_supported_is_named() {
        assert_eq!(
            refusal(&[("sentence_transformers.models.Transformer", ""), ("sentence_transformers.models.CNN", "1_CNN")]),
            format!("modules.json: [1].type: \"sentence_transformers.models.CNN\" is not supported; {SUPPORTED} are")
        );
        for class in ["WeightedLayerPooling", "LSTM", "BoW", "sparse_encoder.models.SpladePooling", ""] {
            assert!(refusal(&[("Transformer", ""), (class, "")]).contains(&format!("\"{class}\" is not supported")));
        }
        assert_eq!(
            refusal(&[("sentence_transformers.models.Pooling", "1_Pooling")]),
            "modules.json: [0].type: \"sentence_transformers.models.Pooling\" comes first; only a Transformer or a \
                StaticEmbedding is supported there"
        );
        for class in ["Transformer", "StaticEmbedding"] {
            let message = refusal(&[("Transformer", ""), (class, "")]);
            assert!(message.contains(&format!("a {class} after the first module")), "{message}");
        }
        assert_eq!(refusal(&[]), "modules.json: lists no modules");
    }

    #[test]
    fn a_router_makes_a_chain_of_each_route() {
        let router = r#"{"types": {"q": "x.Transformer", "d": "x.Transformer", "p": "x.Pooling", "s": "x.LSTM"},
            "structure": {"query": ["q", "p"], "document": ["d", "p"]}}"#;
        let files = [("router_config.json", router), ("p/config.json", POOLING.1), POOLING];
        let text = modules(&[("x.Router", ""), ("x.Normalize", "1_Normalize")]);
        let (_root, model) = folder(&[&[(FILE, text.as_str())], &files[..]].concat());
        let (rules, chains) = read(&model).unwrap().unwrap();
        assert_eq!(rules.unwrap().route(Some("document")).unwrap(), 1);
        assert_eq!(chains.iter().map(|chain| &chain.0[..]).collect::<Vec<_>>(), ["q", "d"]);
        assert!(chains.iter().all(|chain| matches!(chain.1[..], [Module::Pooling(_), Module::Normalize])));
        assert!(read_one(&model).unwrap_err().to_string().contains("has a Router, which only an embedding model has"));

        // An Asym after the Transformer, as earlier versions had it.
        let asym = r#"{"types": {"d": "x.Dropout"}, "structure": {"query": ["d"], "document": []}}"#;
        let text = modules(&[("Transformer", ""), ("Pooling", "1_Pooling"), ("x.Asym", "2_Asym")]);
        let (_root, model) = folder(&[(FILE, text.as_str()), ("2_Asym/config.json", asym), POOLING]);
        let (_, chains) = read(&model).unwrap().unwrap();
        assert_eq!(chains.iter().map(|chain| chain.1.len()).collect::<Vec<_>>(), [2, 1]);

        let fixed = router.replace(r#""query": ["q""#, r#""query": ["s""#);
        let text = modules(&[("x.Router", "")]);
        let (_root, model) =
            folder(&[(FILE, text.as_str()), ("router_config.json", &fixed), ("p/config.json", POOLING.1)]);
        assert_eq!(
            read(&model).unwrap_err().to_string(),
            "router_config.json: types.s: \"x.LSTM\" comes first; only a Transformer or a StaticEmbedding is supported there"
        );
    }

    #[test]
    fn a_path_stays_inside() {
        for path in ["/etc", "..", "1_Pooling/../..", r"..\\up", r"\\\\host", "C:up", r"a\u0000b"] {
            let message = refusal(&[("Transformer", ""), ("Pooling", path)]);
            assert!(message.starts_with("modules.json: [1].path: expected a folder inside"), "{message}");
        }
        assert!(read_with(&[("Transformer", ""), ("Pooling", "./1_Pooling")], &[POOLING]).is_ok());
    }

    #[test]
    fn wrong_types_and_missing_keys_are_named() {
        for (text, expected) in [
            (r#"{"0": {}}"#, "modules.json: invalid type: map, expected a sequence"),
            (r#"[{"type": 3, "path": ""}]"#, "modules.json: [0].type: expected a string, found 3"),
            (r#"[{"path": ""}]"#, "modules.json: [0].type: missing"),
            (r#"[{"type": "Transformer"}]"#, "modules.json: [0].path: missing"),
        ] {
            let (_root, folder) = folder(&[(FILE, text)]);
            let message = read_one(&folder).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
        }
        let missing = read_with(&[("Transformer", ""), ("Pooling", "1_Pooling")], &[]).unwrap_err();
        assert!(matches!(missing, Error::NotFound { .. }), "{missing}");
    }

    #[test]
    fn word_weights_are_looked_up_exactly_then_in_lower_case() {
        let config = r#"{"vocab": ["a", "B", "É", "x"], "word_weights": {"a": 2, "b": 0.5, "B": 0.25, "é": 3},
            "unknown_word_weight": 0.125}"#;
        let (_, modules) =
            read_with(&[("Transformer", ""), ("WordWeights", "1_W")], &[("1_W/config.json", config)]).unwrap().unwrap();
        let weights = vec![2.0, 0.25, 3.0, 0.125];
        assert_eq!(modules, [Module::WordWeights(WordWeightsConfig { weights, unknown_word_weight: 0.125 })]);
    }

    #[test]
    fn small_modules_read_their_files() {
        let files = [
            ("1/config.json", r#"{"dimension": 8}"#),
            ("2/config.json", r#"{"dropout": 0.2}"#),
            ("3/config.json", r#"{"module_input_name": "sentence_embedding", "module_output_name": null}"#),
        ];
        let list = [("Transformer", ""), ("LayerNorm", "1"), ("Dropout", "2"), ("Normalize", "3")];
        let expected = vec![Module::LayerNorm { path: "1".into(), dimension: 8 }, Module::Dropout, Module::Normalize];
        assert_eq!(read_with(&list, &files).unwrap().unwrap().1, expected);
        for (config, expected) in [("{}", TanhCodes::Int8), (r#"{"quantization": "binary"}"#, TanhCodes::Binary)] {
            let list = [("Transformer", ""), ("st_quantize.FlexibleQuantizer", "1")];
            let read = read_with(&list, &[("1/config.json", config)]).unwrap().unwrap().1;
            assert_eq!(read, [Module::FlexibleQuantizer(expected)]);
        }

        let tokens = [("1/config.json", r#"{"module_input_name": "token_embeddings"}"#)];
        assert_eq!(
            read_with(&[("Transformer", ""), ("Normalize", "1")], &tokens).unwrap_err().to_string(),
            "1/config.json: module_input_name: \"token_embeddings\" is not supported; \"sentence_embedding\" is"
        );
    }
}
