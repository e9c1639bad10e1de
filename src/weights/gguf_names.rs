//! From the names of a GGUF file's tensors to those of transformers (llama.cpp's `gguf-py/gguf/tensor_mapping.py`).
//!
//! A name is `PART.weight` or `PART.bias`, and `blk.N.PART.weight` in layer N. Which names transformers has for the parts depends on
//! the `model_type` of config.json: DistilBERT, RoBERTa and BERT are one architecture of llama.cpp's.

/// Names of the parts of a network.
pub(super) struct PartNames {
    /// Of config.json.
    pub(super) model_types: &'static [&'static str],
    /// `general.architecture`
    pub(super) architectures: &'static [&'static str],
    /// Outside of the layers.
    network: &'static [NamePair],
    /// What transformers has before the number of a layer.
    layers: &'static str,
    /// Of a layer, in parts that several networks have.
    layer: &'static [&'static [NamePair]],
    pub(super) difference: Difference,
}

/// The name of a part in the file, and in transformers; "" where transformers makes it itself.
type NamePair = (&'static str, &'static str);

/// In what numbers differ from those of transformers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Difference {
    None,
    /// The table of positions lacks the rows up to that of the padding token.
    Positions,
    /// Rows of queries and keys are interleaved.
    Interleaved,
    /// Norms have 1 + weight.
    Norms,
}

/// The networks whose names are known.
pub(super) const KNOWN: [PartNames; 8] = [
    PartNames {
        model_types: &["bert"],
        architectures: &["bert"],
        network: &[WORDS, POSITIONS, TYPES, EMBEDDING_NORM, ("cls", "pooler.dense"), CLASSIFIER],
        layers: "encoder.layer",
        layer: &[BERT_LAYER],
        difference: Difference::None,
    },
    PartNames {
        model_types: &["roberta", "xlm-roberta", "camembert"],
        architectures: &["bert"],
        network: &[
            WORDS,
            POSITIONS,
            TYPES,
            EMBEDDING_NORM,
            ("cls", "classifier.dense"),
            ("cls.output", "classifier.out_proj"),
        ],
        layers: "encoder.layer",
        layer: &[BERT_LAYER],
        difference: Difference::Positions,
    },
    PartNames {
        model_types: &["distilbert"],
        architectures: &["bert"],
        network: &[WORDS, POSITIONS, EMBEDDING_NORM, ("cls", "pre_classifier"), CLASSIFIER],
        layers: "transformer.layer",
        layer: &[&[
            ("attn_q", "attention.q_lin"),
            ("attn_k", "attention.k_lin"),
            ("attn_v", "attention.v_lin"),
            ("attn_output", "attention.out_lin"),
            ("attn_output_norm", "sa_layer_norm"),
            ("ffn_up", "ffn.lin1"),
            ("ffn_down", "ffn.lin2"),
            ("layer_output_norm", "output_layer_norm"),
        ]],
        difference: Difference::None,
    },
    PartNames {
        model_types: &["nomic_bert"],
        architectures: &["nomic-bert"],
        network: &[WORDS, TYPES, ("token_embd_norm", "emb_ln")],
        layers: "encoder.layers",
        layer: &[&[
            ("attn_qkv", "attn.Wqkv"),
            ("attn_output", "attn.out_proj"),
            ("attn_output_norm", "norm1"),
            ("ffn_up", "mlp.fc11"),
            ("ffn_gate", "mlp.fc12"),
            ("ffn_down", "mlp.fc2"),
            ("layer_output_norm", "norm2"),
        ]],
        difference: Difference::None,
    },
    PartNames {
        model_types: &["modernbert"],
        architectures: &["modern-bert"],
        network: &[
            ("token_embd", "embeddings.tok_embeddings"),
            ("token_embd_norm", "embeddings.norm"),
            ("output_norm", "final_norm"),
            ("cls", "head.dense"),
            ("cls.norm", "head.norm"),
            CLASSIFIER,
        ],
        layers: "layers",
        layer: &[&[
            ("attn_norm", "attn_norm"),
            ("attn_qkv", "attn.Wqkv"),
            ("attn_output", "attn.Wo"),
            ("ffn_norm", "mlp_norm"),
            ("ffn_up", "mlp.Wi"),
            ("ffn_down", "mlp.Wo"),
        ]],
        difference: Difference::None,
    },
    PartNames {
        model_types: &["qwen3", "qwen2"],
        architectures: &["qwen3", "qwen2"],
        network: DECODER,
        layers: "layers",
        layer: DECODER_LAYER,
        difference: Difference::None,
    },
    PartNames {
        model_types: &["llama", "mistral"],
        architectures: &["llama"],
        network: DECODER,
        layers: "layers",
        layer: DECODER_LAYER,
        difference: Difference::Interleaved,
    },
    PartNames {
        model_types: &["gemma3_text"],
        architectures: &["gemma-embedding", "gemma3"],
        network: DECODER,
        layers: "layers",
        layer: &[
            DECODER_BLOCKS,
            &[
                ("post_attention_norm", "post_attention_layernorm"),
                ("ffn_norm", "pre_feedforward_layernorm"),
                ("post_ffw_norm", "post_feedforward_layernorm"),
            ],
        ],
        difference: Difference::Norms,
    },
];

const WORDS: NamePair = ("token_embd", "embeddings.word_embeddings");
const POSITIONS: NamePair = ("position_embd", "embeddings.position_embeddings");
const TYPES: NamePair = ("token_types", "embeddings.token_type_embeddings");
const EMBEDDING_NORM: NamePair = ("token_embd_norm", "embeddings.LayerNorm");
const CLASSIFIER: NamePair = ("cls.output", "classifier");

const BERT_LAYER: &[NamePair] = &[
    ("attn_q", "attention.self.query"),
    ("attn_k", "attention.self.key"),
    ("attn_v", "attention.self.value"),
    ("attn_output", "attention.output.dense"),
    ("attn_output_norm", "attention.output.LayerNorm"),
    ("ffn_up", "intermediate.dense"),
    ("ffn_down", "output.dense"),
    ("layer_output_norm", "output.LayerNorm"),
];

const DECODER: &[NamePair] = &[
    ("token_embd", "embed_tokens"),
    ("output_norm", "norm"),
    ("output", "lm_head"),
    ("cls.output", "score"),
    // Modules of their own in transformers.
    ("dense_2", ""),
    ("dense_3", ""),
    // Made of config.json's rope_scaling.
    ("rope_freqs", ""),
];

const DECODER_LAYER: &[&[NamePair]] = &[DECODER_BLOCKS, &[("ffn_norm", "post_attention_layernorm")]];

/// A decoder's layer without the norms that Gemma has more of.
const DECODER_BLOCKS: &[NamePair] = &[
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

impl PartNames {
    /// Those of models with this `model_type`.
    pub(super) fn of(model_type: &str) -> Option<&'static Self> {
        KNOWN.iter().find(|names| names.model_types.contains(&model_type))
    }

    /// The part that a tensor is of, and transformers' name of the tensor, which is "" for one that it does not have.
    pub(super) fn tensor<'a>(&self, name: &'a str) -> Option<(&'a str, String)> {
        let (path, kind) = name.rsplit_once('.').filter(|(_, kind)| ["weight", "bias"].contains(kind))?;
        let find = |parts: &[&[NamePair]], part: &str| {
            parts.iter().copied().flatten().find(|(known, _)| *known == part).map(|&(_, own)| own)
        };
        let (part, path) = match path.strip_prefix("blk.") {
            Some(rest) => {
                let (number, part) = rest.split_once('.')?;
                let own = find(self.layer, part).filter(|_| number.bytes().all(|digit| digit.is_ascii_digit()))?;
                (part, format!("{}.{number}.{own}", self.layers))
            }
            None => (path, find(&[self.network], path)?.to_owned()),
        };
        Some((part, if path.is_empty() { path } else { format!("{path}.{kind}") }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_transformers() {
        for (model_type, name, expected) in [
            ("bert", "token_embd.weight", Some("embeddings.word_embeddings.weight")),
            ("bert", "blk.11.attn_q.bias", Some("encoder.layer.11.attention.self.query.bias")),
            ("bert", "blk.1.attn_q_norm.weight", None),
            ("bert", "blk.x.attn_q.bias", None),
            ("bert", "blk.1.attn_q.scale", None),
            ("bert", "output.weight", None),
            ("distilbert", "blk.0.ffn_down.weight", Some("transformer.layer.0.ffn.lin2.weight")),
            ("xlm-roberta", "cls.output.bias", Some("classifier.out_proj.bias")),
            ("nomic_bert", "blk.3.ffn_gate.weight", Some("encoder.layers.3.mlp.fc12.weight")),
            ("modernbert", "cls.norm.weight", Some("head.norm.weight")),
            ("qwen3", "blk.0.ffn_norm.weight", Some("layers.0.post_attention_layernorm.weight")),
            ("gemma3_text", "blk.0.ffn_norm.weight", Some("layers.0.pre_feedforward_layernorm.weight")),
            ("llama", "rope_freqs.weight", Some("")),
        ] {
            let found = PartNames::of(model_type).unwrap().tensor(name).map(|(_, name)| name);
            assert_eq!(found.as_deref(), expected, "{name}");
        }
        assert!(PartNames::of("mpnet").is_none());
    }
}
