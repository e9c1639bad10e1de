//! config.json, as transformers writes it for the network that a GGUF file describes (llama.cpp's `conversion/` has it the other way
//! round).
//!
//! What a file does not say and its architecture fixes: BERT's activation is the exact GELU. What is fixed in transformers and said
//! here must agree. Sizes that tensors have are taken from them.

use serde_json::{Map, Value, json};

use crate::Result;
use crate::gguf::keys::GgufKeys;
use crate::gguf::modules::{GEMMA_EMBEDDING, has_dense};

/// Architectures that config.json is made for.
const KNOWN: [(&str, Describe); 10] = [
    ("bert", bert),
    ("nomic-bert", nomic_bert),
    (NOMIC_EXPERTS, nomic_bert),
    ("modern-bert", modern_bert),
    ("jina-bert-v2", jina_bert_v2),
    ("gemma3", gemma3),
    (GEMMA_EMBEDDING, gemma3),
    ("qwen2", decoder),
    ("qwen3", decoder),
    ("llama", decoder),
];

type Describe = fn(&GgufKeys) -> Result<Value>;

/// NomicBERT with experts.
const NOMIC_EXPERTS: &str = "nomic-bert-moe";

/// The epsilon that transformers' DistilBERT has in its code.
const DISTILBERT_EPSILON: f32 = 1e-12;

pub(super) fn config(keys: &GgufKeys) -> Result<Value> {
    match KNOWN.iter().find(|(name, _)| *name == keys.architecture) {
        Some((_, describe)) => describe(keys),
        None => {
            let known = KNOWN.map(|(name, _)| name).join(", ");
            let message = format!(
                "{:?} alone does not say enough: put the model's config.json and tokenizer.json beside the file, or give it where it is \
                 published as safetensors; of a file alone votive loads {known}",
                keys.architecture
            );
            Err(keys.all().error("general.architecture", message))
        }
    }
}

/// What is put in the place of something that the file lacks; it goes on from the model's name.
pub(super) fn note(keys: &GgufKeys) -> Option<String> {
    (keys.architecture == NOMIC_EXPERTS).then(|| {
        "lacks the biases of its experts, which llama.cpp's converter leaves out: zeros are put there, and vectors are those of the \
         original as far as its biases are zero"
            .to_owned()
    })
}

/// Labels of a classifier, by their numbers; None where there is none.
fn labels(keys: &GgufKeys) -> Result<Option<Map<String, Value>>> {
    let Some(rows) = keys.rows("cls.output.weight") else { return Ok(None) };
    let key = keys.name("classifier.output_labels");
    let names = keys.all().texts(&key)?.unwrap_or_default();
    let name = |i: usize| names.get(i).map_or_else(|| format!("LABEL_{i}"), |name| (*name).to_owned());
    if rows > 1 << 16 {
        return Err(
            keys.tensor_error("cls.output.weight", format_args!("has {rows} rows; a classifier has one a label"))
        );
    }
    Ok(Some((0..rows).map(|i| (i.to_string(), name(i).into())).collect()))
}

/// The class that the weights were saved from, and its labels.
fn classes(keys: &GgufKeys, class: &str, otherwise: &str) -> Result<Map<String, Value>> {
    let labels = labels(keys)?;
    let kind = if labels.is_some() { "ForSequenceClassification" } else { otherwise };
    let mut config = Map::from_iter([("architectures".to_owned(), json!([format!("{class}{kind}")]))]);
    config.extend(labels.map(|labels| ("id2label".to_owned(), labels.into())));
    Ok(config)
}

/// `more` with the keys of `config`.
fn with(mut config: Map<String, Value>, more: Value) -> Value {
    if let Value::Object(more) = more {
        config.extend(more);
    }
    config.into()
}

fn words(keys: &GgufKeys) -> Result<usize> {
    keys.rows("token_embd.weight").ok_or_else(|| keys.tensor_error("token_embd.weight", "is not there"))
}

/// An error where an encoder's tokens see only what comes before them.
fn refuse_causal(keys: &GgufKeys) -> Result<()> {
    match keys.boolean("attention.causal")? {
        Some(true) => Err(keys.error("attention.causal", format!("true is not supported for {}", keys.architecture))),
        _ => Ok(()),
    }
}

/// An error where positions are scaled.
fn refuse_scaling(keys: &GgufKeys) -> Result<()> {
    match keys.text("rope.scaling.type")?.filter(|&kind| kind != "none") {
        Some(kind) => {
            Err(keys.error("rope.scaling.type", format!("{kind:?} is not supported for {}", keys.architecture)))
        }
        None => Ok(()),
    }
}

/// BERT, DistilBERT (without token types), or RoBERTa and XLM-RoBERTa (told by their tokenizers), whose first rows of positions the
/// file lacks.
fn bert(keys: &GgufKeys) -> Result<Value> {
    refuse_causal(keys)?;
    let (vocab, tokenizer) = (words(keys)?, keys.all().text("tokenizer.ggml.model")?);
    let positions = keys.rows("position_embd.weight");
    let positions = positions.ok_or_else(|| keys.tensor_error("position_embd.weight", "is not there"))?;
    let types = keys.rows("token_types.weight");
    let hidden = keys.size("embedding_length")?;
    let (layers, wide) = (keys.size("block_count")?, keys.size("feed_forward_length")?);
    let heads = keys.required("attention.head_count", keys.integer_of_layers("attention.head_count")?)?;
    let epsilon = keys.required("attention.layer_norm_epsilon", keys.positive("attention.layer_norm_epsilon")?)?;
    if tokenizer == Some("bert") && types.is_none() {
        if epsilon as f32 != DISTILBERT_EPSILON {
            let message =
                format!("is {epsilon} in a network without token types, a DistilBERT, whose is {DISTILBERT_EPSILON}");
            return Err(keys.error("attention.layer_norm_epsilon", message));
        }
        return Ok(with(
            classes(keys, "DistilBert", "Model")?,
            json!({"model_type": "distilbert", "vocab_size": vocab, "dim": hidden, "n_layers": layers, "n_heads": heads,
                "hidden_dim": wide, "activation": "gelu", "max_position_embeddings": positions, "pad_token_id": 0}),
        ));
    }
    let (model_type, class) = match tokenizer {
        Some("t5") => ("xlm-roberta", "XLMRoberta"),
        Some("gpt2") => ("roberta", "Roberta"),
        _ => ("bert", "Bert"),
    };
    let has_padding = model_type != "bert";
    let padding = keys.all().integer("tokenizer.ggml.padding_token_id")?.unwrap_or(u64::from(has_padding));
    let before = if has_padding { usize::try_from(padding).unwrap_or(usize::MAX).saturating_add(1) } else { 0 };
    Ok(with(
        classes(keys, class, "Model")?,
        json!({"model_type": model_type, "vocab_size": vocab, "hidden_size": hidden, "num_hidden_layers": layers,
            "num_attention_heads": heads, "intermediate_size": wide, "hidden_act": "gelu", "layer_norm_eps": epsilon,
            "max_position_embeddings": positions.saturating_add(before), "type_vocab_size": types.unwrap_or(1),
            "pad_token_id": padding}),
    ))
}

/// An error where there is a classifier.
fn refuse_classifier(keys: &GgufKeys) -> Result<()> {
    match ["cls.weight", "cls.output.weight"].into_iter().find(|tensor| keys.has(tensor)) {
        Some(tensor) => {
            let message = format!("is a classifier's, which is not supported for {}", keys.architecture);
            Err(keys.tensor_error(tensor, message))
        }
        None => Ok(()),
    }
}

/// NomicBERT under the keys of the published code, with experts in some layers or without.
fn nomic_bert(keys: &GgufKeys) -> Result<Value> {
    refuse_causal(keys)?;
    refuse_scaling(keys)?;
    refuse_classifier(keys)?;
    let bias = |part: &str| keys.has(&format!("blk.0.{part}.bias"));
    let theta = keys.positive("rope.freq_base")?;
    let heads = keys.required("attention.head_count", keys.integer_of_layers("attention.head_count")?)?;
    let epsilon = keys.required("attention.layer_norm_epsilon", keys.positive("attention.layer_norm_epsilon")?)?;
    let has_experts = keys.architecture == NOMIC_EXPERTS;
    let experts = if has_experts { experts(keys)? } else { Map::new() };
    Ok(with(
        experts,
        json!({"model_type": "nomic_bert", "architectures": ["NomicBertModel"], "vocab_size": words(keys)?,
            "n_embd": keys.size("embedding_length")?, "n_layer": keys.size("block_count")?, "n_head": heads,
            "n_inner": keys.size("feed_forward_length")?, "layer_norm_epsilon": epsilon,
            "rotary_emb_base": keys.required("rope.freq_base", theta)?,
            "activation_function": if has_experts { "gelu" } else { "swiglu" },
            "type_vocab_size": keys.rows("token_types.weight").unwrap_or(0),
            "max_position_embeddings": keys.size("context_length")?, "qkv_proj_bias": bias("attn_qkv"),
            "mlp_fc1_bias": bias("ffn_up"), "mlp_fc2_bias": bias("ffn_down")}),
    ))
}

/// The keys of experts; those of the first layer that has them must be as many as the file says.
fn experts(keys: &GgufKeys) -> Result<Map<String, Value>> {
    let (every, count) = (keys.size("moe_every_n_layers")?, keys.size("expert_count")?);
    let top = keys.size("expert_used_count")?;
    // Whatever the distance, the second layer is the first that has them.
    const ROUTER: &str = "blk.1.ffn_gate_inp.weight";
    if let Some(rows) = keys.rows(ROUTER).filter(|&rows| rows as u64 != count) {
        return Err(keys.error("expert_count", format!("is {count}, and {ROUTER} has {rows} rows")));
    }
    let keys = [("moe_every_n_layers", every), ("num_experts", count), ("moe_top_k", top)];
    Ok(keys.into_iter().map(|(key, number)| (key.to_owned(), number.into())).collect())
}

/// jina v2, of whose layers all have the exact GELU and a gate.
fn jina_bert_v2(keys: &GgufKeys) -> Result<Value> {
    refuse_causal(keys)?;
    refuse_classifier(keys)?;
    const BIAS: &str = "attention.max_alibi_bias";
    if let Some(bias) = keys.positive(BIAS)?.filter(|&bias| bias != 8.0) {
        return Err(keys.error(BIAS, format!("{bias} is not supported; 8 is")));
    }
    let wide = keys.size("feed_forward_length")?;
    const UP: &str = "blk.0.ffn_up.weight";
    let rows = if keys.has("blk.0.ffn_gate.weight") { Some(wide) } else { wide.checked_mul(2) };
    if let Some(found) = keys.rows(UP)
        && Some(found as u64) != rows
    {
        let message =
            format!("has {found} rows, and feed_forward_length is {wide}: blocks without a gate are not supported");
        return Err(keys.tensor_error(UP, message));
    }
    let heads = keys.required("attention.head_count", keys.integer_of_layers("attention.head_count")?)?;
    let epsilon = keys.required("attention.layer_norm_epsilon", keys.positive("attention.layer_norm_epsilon")?)?;
    Ok(json!({"model_type": "bert", "architectures": ["JinaBertModel"], "position_embedding_type": "alibi",
        "feed_forward_type": "geglu", "vocab_size": words(keys)?, "hidden_size": keys.size("embedding_length")?,
        "num_hidden_layers": keys.size("block_count")?, "num_attention_heads": heads, "intermediate_size": wide,
        "layer_norm_eps": epsilon, "type_vocab_size": keys.rows("token_types.weight").unwrap_or(0),
        "max_position_embeddings": keys.size("context_length")?}))
}

/// ModernBERT; its normalization is a LayerNorm whichever key has the epsilon.
fn modern_bert(keys: &GgufKeys) -> Result<Value> {
    refuse_causal(keys)?;
    refuse_scaling(keys)?;
    let hidden = keys.size("embedding_length")?;
    let layers = keys.size("block_count")?;
    let heads = keys.required("attention.head_count", keys.integer_of_layers("attention.head_count")?)?;
    let epsilon = match keys.positive("attention.layer_norm_epsilon")? {
        Some(epsilon) => Some(epsilon),
        None => keys.positive("attention.layer_norm_rms_epsilon")?,
    };
    let mut config = classes(keys, "ModernBert", "Model")?;
    let pattern = keys.name("attention.sliding_window_pattern");
    if keys.all().is_list(&pattern) {
        // For each layer, whether it sees a window.
        let windows = keys.all().booleans(&pattern)?.unwrap_or_default();
        config.insert("layer_types".to_owned(), layer_types(&windows));
    } else {
        let every = keys.size("attention.sliding_window_pattern")?;
        config.insert("global_attn_every_n_layers".to_owned(), every.into());
    }
    if keys.has("cls.output.weight") {
        let pooling = match keys.integer("classifier.pooling_type")? {
            Some(1) => "mean",
            Some(2) => "cls",
            _ => {
                let message = "is not 1 (mean) or 2 (first token): which tokens the classifier sees is not known. Put the model's \
                    config.json beside the file";
                return Err(keys.error("classifier.pooling_type", message));
            }
        };
        config.insert("classifier_pooling".to_owned(), pooling.into());
    }
    let bias = |part: &str| keys.has(&format!("{part}.bias"));
    Ok(with(
        config,
        json!({"model_type": "modernbert", "vocab_size": words(keys)?, "hidden_size": hidden, "num_hidden_layers": layers,
            "num_attention_heads": heads, "intermediate_size": keys.size("feed_forward_length")?,
            "hidden_activation": keys.text("hidden_activation")?.unwrap_or("gelu"),
            "norm_eps": keys.required("attention.layer_norm_epsilon", epsilon)?,
            "local_attention": keys.size("attention.sliding_window")?,
            "global_rope_theta": keys.required("rope.freq_base", keys.positive("rope.freq_base")?)?,
            "local_rope_theta": keys.positive("rope.freq_base_swa")?.unwrap_or(10_000.0),
            "max_position_embeddings": keys.size("context_length")?, "norm_bias": bias("output_norm"),
            "attention_bias": bias("blk.0.attn_qkv"), "mlp_bias": bias("blk.0.ffn_up")}),
    ))
}

/// Qwen2, Qwen3, and Llama, which Mistral without windows is, too.
fn decoder(keys: &GgufKeys) -> Result<Value> {
    let class = match keys.architecture {
        "qwen2" => "Qwen2",
        "qwen3" => "Qwen3",
        _ => "Llama",
    };
    const SCALED: &str = "rope_freqs.weight";
    if keys.has(SCALED) {
        let message = "has scaled frequencies, and the file does not say how they are scaled: put the model's config.json beside it";
        return Err(keys.tensor_error(SCALED, message));
    }
    if keys.contains("attention.sliding_window") {
        return Err(keys.error("attention.sliding_window", format!("is not supported for {}", keys.architecture)));
    }
    Ok(with(
        decoder_sizes(keys)?,
        json!({"model_type": keys.architecture, "architectures": [format!("{class}ForCausalLM")], "hidden_act": "silu",
            "rope_theta": keys.positive("rope.freq_base")?.unwrap_or(10_000.0),
            "attention_bias": keys.has("blk.0.attn_q.bias"), "mlp_bias": keys.has("blk.0.ffn_up.bias"),
            "is_causal": keys.boolean("attention.causal")?.unwrap_or(true)}),
    ))
}

/// Gemma 3, and EmbeddingGemma. Of its layers every sixth sees all, unless the file says another number, or says it of each.
fn gemma3(keys: &GgufKeys) -> Result<Value> {
    let both_ways = keys.architecture == GEMMA_EMBEDDING || has_dense(keys);
    if let Some(causal) = keys.boolean("attention.causal")?.filter(|&causal| causal == both_ways) {
        let message =
            format!("{causal} is not supported for this model: EmbeddingGemma looks both ways, and Gemma 3 backwards");
        return Err(keys.error("attention.causal", message));
    }
    for key in ["attn_logit_softcapping", "final_logit_softcapping"] {
        if keys.positive(key)?.is_some() {
            return Err(keys.error(key, "bounds of scores are not supported"));
        }
    }
    let mut config = decoder_sizes(keys)?;
    // It is of the layers that see all; others have none.
    if config.get("rope_scaling").is_some_and(|scaling| scaling["rope_type"] != "linear") {
        return Err(keys.error("rope.scaling.type", "\"linear\" alone is supported for Gemma 3"));
    }
    const WINDOW: &str = "attention.sliding_window";
    const PATTERN: &str = "attention.sliding_window_pattern";
    match keys.integer(WINDOW)? {
        // All layers see all.
        None | Some(0) if !both_ways => {
            config.insert("sliding_window_pattern".to_owned(), 1.into());
        }
        window => {
            config.insert("sliding_window".to_owned(), keys.required(WINDOW, window)?.into());
            if keys.all().is_list(&keys.name(PATTERN)) {
                let windows = keys.all().booleans(&keys.name(PATTERN))?.unwrap_or_default();
                config.insert("layer_types".to_owned(), layer_types(&windows));
            } else {
                config.insert("sliding_window_pattern".to_owned(), keys.integer(PATTERN)?.unwrap_or(6).into());
            }
        }
    }
    let (head_dim, value_dim) = (keys.size("attention.key_length")?, keys.integer("attention.value_length")?);
    if let Some(value_dim) = value_dim.filter(|&value_dim| value_dim != head_dim) {
        let message = format!("is {value_dim}, and that of keys {head_dim}; they are to be the same");
        return Err(keys.error("attention.value_length", message));
    }
    // What scores are divided by the root of is not in the file; llama.cpp knows the model that has another number by its layers.
    let scalar = match keys.size("block_count")? {
        62 => keys.size("embedding_length")? / keys.integer_of_layers("attention.head_count")?.unwrap_or(1).max(1),
        _ => head_dim,
    };
    // Ollama's name, too.
    let local = match keys.positive("rope.freq_base_swa")? {
        None => keys.positive("rope.local.freq_base")?,
        local => local,
    };
    let class = if both_ways { "Gemma3TextModel" } else { "Gemma3ForCausalLM" };
    let theta = keys.positive("rope.freq_base")?;
    Ok(with(
        config,
        json!({"model_type": "gemma3_text", "architectures": [class], "hidden_activation": "gelu_pytorch_tanh",
            "query_pre_attn_scalar": scalar, "use_bidirectional_attention": both_ways,
            "rope_theta": keys.required("rope.freq_base", theta)?, "rope_local_base_freq": local.unwrap_or(10_000.0),
            "attention_bias": keys.has("blk.0.attn_q.bias")}),
    ))
}

/// What all decoders have: sizes, epsilon, scaled positions.
fn decoder_sizes(keys: &GgufKeys) -> Result<Map<String, Value>> {
    let heads = keys.required("attention.head_count", keys.integer_of_layers("attention.head_count")?)?;
    let key_length = keys.integer("attention.key_length")?;
    let epsilon = keys.positive("attention.layer_norm_rms_epsilon")?;
    let trained = keys.integer("rope.scaling.original_context_length")?;
    let factor = keys.positive("rope.scaling.factor")?;
    let mut config = Map::new();
    match keys.text("rope.scaling.type")? {
        None | Some("none") => {}
        Some(kind @ ("linear" | "yarn")) => {
            let mut scaling = json!({"rope_type": kind, "factor": keys.required("rope.scaling.factor", factor)?});
            if let Some(trained) = trained {
                scaling["original_max_position_embeddings"] = trained.into();
            }
            config.insert("rope_scaling".to_owned(), scaling);
        }
        Some(kind) => return Err(keys.error("rope.scaling.type", format!("{kind:?} is not supported"))),
    }
    config.extend(key_length.map(|length| ("head_dim".to_owned(), length.into())));
    let padding = keys.all().integer("tokenizer.ggml.padding_token_id")?;
    config.extend(padding.map(|padding| ("pad_token_id".to_owned(), padding.into())));
    let sizes = [
        ("vocab_size", words(keys)? as u64),
        ("hidden_size", keys.size("embedding_length")?),
        ("num_hidden_layers", keys.size("block_count")?),
        ("num_attention_heads", heads),
        ("num_key_value_heads", keys.integer_of_layers("attention.head_count_kv")?.unwrap_or(heads)),
        ("intermediate_size", keys.size("feed_forward_length")?),
        ("max_position_embeddings", keys.size("context_length")?),
    ];
    config.extend(sizes.map(|(key, size)| (key.to_owned(), size.into())));
    config.insert("rms_norm_eps".to_owned(), keys.required("attention.layer_norm_rms_epsilon", epsilon)?.into());
    config.insert("tie_word_embeddings".to_owned(), (!keys.has("output.weight")).into());
    Ok(config)
}

/// `layer_types` of config.json, of whether each layer sees a window.
fn layer_types(windows: &[bool]) -> Value {
    let kind = |&window: &bool| if window { "sliding_attention" } else { "full_attention" };
    windows.iter().map(kind).collect()
}
