//! Activation functions by the names that model configurations use.

/// What a product's epilogue applies to each element. Names are those of transformers' `ACT2FN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    Identity,
    Gelu,
    GeluTanh,
    QuickGelu,
    Relu,
    Silu,
    Tanh,
    Sigmoid,
}
