//! The module `Dense` of sentence-transformers: a linear layer over sentence embeddings.
//!
//! ```text
//! y = activation(x weightᵀ + bias) + residual       residual: none, x, or x residual_weightᵀ where the widths differ
//! ```

use crate::config::DenseConfig;
use crate::files::{ModelFolder, inside};
use crate::kernels::{Activation, Dtype, Matrix};
use crate::nn::{Body, Loader, active_isa};
use crate::weights::Weights;
use crate::{Error, Result};

/// `activation(x · weightᵀ + bias)`, plus the residual where there is one.
pub(super) struct Dense {
    linear: Matrix,
    activation: Activation,
    /// The activation, where the kernels have none such.
    elementwise: Option<ScalarFn>,
    residual: Residual,
}

enum Residual {
    None,
    Input,
    /// The input, projected to the output's width.
    Projected(Matrix),
}

type ScalarFn = fn(f32) -> f32;

/// Activations by the name of their class in `torch.nn`, which is made without arguments.
const ACTIVATIONS: [(&str, Activation, Option<ScalarFn>); 12] = [
    ("Identity", Activation::Identity, None),
    ("Tanh", Activation::Tanh, None),
    ("GELU", Activation::Gelu, None),
    ("ReLU", Activation::Relu, None),
    ("ReLU6", Activation::Relu6, None),
    ("LeakyReLU", Activation::LeakyRelu, None),
    ("SiLU", Activation::Silu, None),
    ("Mish", Activation::Mish, None),
    ("Sigmoid", Activation::Sigmoid, None),
    ("ELU", Activation::Identity, Some(|x| if x > 0.0 { x } else { x.exp_m1() })),
    ("Softplus", Activation::Identity, Some(|x| if x > 20.0 { x } else { x.exp().ln_1p() })),
    ("Hardswish", Activation::Identity, Some(|x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0)),
];

impl Dense {
    /// Loads `linear.weight`, `linear.bias` and `residual.weight`, as far as the configuration has them, for vectors of
    /// width `input`, and holds the matrices in `dtype`.
    pub(super) fn load(folder: &ModelFolder, config: &DenseConfig, input: usize, dtype: Dtype) -> Result<Self> {
        let DenseConfig { path, in_features, out_features, .. } = config;
        let (k, n) = (*in_features, *out_features);
        let file = || inside(path, "config.json");
        if k != input {
            let message = format!("{k}, but the module before it gives {input}");
            return Err(Error::model_key(file(), "in_features", message));
        }
        let Some(&(_, activation, elementwise)) = ACTIVATIONS.iter().find(|known| known.0 == config.activation) else {
            let names = ACTIVATIONS.map(|(name, ..)| name).join(", ");
            let message = format!("\"{}\" is not supported; {names} are", config.activation);
            return Err(Error::model_key(file(), "activation_function", message));
        };
        let isa = active_isa()?;
        let weights = Weights::open(folder, path)?;
        let at = Loader::new(&weights, &Body::Cpu { isa, dtype });
        let matrix = |name: &str, bias: bool| Loader::matrix(isa, dtype, &[at.at(name)], [n, k], bias, 0);
        let residual = match config.residual {
            false => Residual::None,
            true if k == n => Residual::Input,
            true => Residual::Projected(matrix("residual", false)?),
        };
        let linear = matrix("linear", config.bias)?;
        Ok(Self { linear, activation, elementwise, residual })
    }

    pub(super) fn out_features(&self) -> usize {
        self.linear.n()
    }

    /// `x [texts, in_features]` to `[texts, out_features]`.
    pub(super) fn apply(&self, x: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; x.len() / self.linear.k() * self.linear.n()];
        self.linear.apply(x, self.activation, &mut out);
        if let Some(function) = self.elementwise {
            out.iter_mut().for_each(|y| *y = function(*y));
        }
        match &self.residual {
            Residual::None => {}
            Residual::Input => add(&mut out, x),
            Residual::Projected(matrix) => {
                let mut projected = vec![0.0; out.len()];
                matrix.apply(x, Activation::Identity, &mut projected);
                add(&mut out, &projected);
            }
        }
        out
    }
}

fn add(out: &mut [f32], x: &[f32]) {
    out.iter_mut().zip(x).for_each(|(out, x)| *out += x);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::{TestTensor, assert_close, folder};

    const X: [f32; 4] = [1.0, -2.0, 0.5, 4.0];
    const WEIGHT: [f32; 6] = [0.5, -1.0, 2.0, 0.25, -0.75, 1.5];
    const BIAS: [f32; 3] = [0.125, -0.5, 1.0];

    fn config(activation: &str, out_features: usize) -> DenseConfig {
        let (path, activation) = ("2_Dense".to_owned(), activation.to_owned());
        DenseConfig { path, in_features: 2, out_features, bias: false, activation, residual: false, scores: false }
    }

    fn load(config: &DenseConfig, tensors: &[TestTensor<'_>]) -> Result<Dense> {
        let (_root, folder) = folder(&[("2_Dense", tensors)]);
        Dense::load(&folder, config, 2, Dtype::Float32)
    }

    // sentence_transformers 6.2's Dense(2, 3, activation_function=torch.nn.NAME()) with these weights, in float32.
    #[test]
    fn every_activation() {
        let tensors = [("linear.weight", &[3, 2][..], &WEIGHT[..]), ("linear.bias", &[3], &BIAS)];
        let expected = [
            ("Identity", [2.625, 1.0, -2.75, -3.625, 1.5, 6.625]),
            ("Tanh", [0.98955977, 0.7615942, -0.99185973, -0.99858063, 0.90514827, 0.9999965]),
            ("GELU", [2.6136274, 0.8413447, -0.008194163, -0.000523638, 1.3997891, 6.625]),
            ("ReLU", [2.625, 1.0, 0.0, 0.0, 1.5, 6.625]),
            ("ReLU6", [2.625, 1.0, 0.0, 0.0, 1.5, 6.0]),
            ("LeakyReLU", [2.625, 1.0, -0.0275, -0.03625, 1.5, 6.625]),
            ("SiLU", [2.4476898, 0.7310586, -0.16523829, -0.09409542, 1.2263616, 6.6162214]),
            ("Mish", [2.6011553, 0.86509836, -0.17019308, -0.09531624, 1.4033782, 6.6249766]),
            ("Sigmoid", [0.9324533, 0.7310586, 0.06008665, 0.02595736, 0.81757444, 0.9986749]),
            ("ELU", [2.625, 1.0, -0.9360721, -0.9733509, 1.5, 6.625]),
            ("Softplus", [2.6949363, 1.3132616, 0.06196759, 0.0263002, 1.7014133, 6.626326]),
            ("Hardswish", [2.4609375, 0.6666667, -0.11458334, 0.0, 1.125, 6.625]),
        ];
        assert_eq!(expected.map(|(name, _)| name), ACTIVATIONS.map(|(name, ..)| name));
        for (name, values) in expected {
            let dense = load(&DenseConfig { bias: true, ..config(name, 3) }, &tensors).unwrap();
            assert_close(&dense.apply(&X), &values);
        }
    }

    #[test]
    fn large_arguments_stay_finite() {
        for (name, activation, function) in ACTIVATIONS {
            let tensors = [("linear.weight", &[2, 2][..], &[1000.0, 0.0, 0.0, 1000.0][..])];
            let y = load(&config(name, 2), &tensors).unwrap().apply(&X);
            assert!(y.iter().all(|y| y.is_finite()), "{name} ({activation:?}, {}): {y:?}", function.is_some());
        }
    }

    // As above, with use_residual=True.
    #[test]
    fn the_residual_is_the_input_or_its_projection() {
        let projected = [
            ("linear.weight", &[3, 2][..], &WEIGHT[..]),
            ("residual.weight", &[3, 2], &[1.0, 0.0, 0.5, -0.5, 0.0, 2.0]),
        ];
        let dense = load(&DenseConfig { residual: true, ..config("Identity", 3) }, &projected).unwrap();
        assert_close(&dense.apply(&X), &[3.5, 3.0, -7.75, -3.25, 0.25, 13.625]);

        let square = [("linear.weight", &[2, 2][..], &WEIGHT[..4])];
        let dense = load(&DenseConfig { residual: true, ..config("Tanh", 2) }, &square).unwrap();
        assert_close(&dense.apply(&X), &[1.9866142, -1.0948517, -0.49889445, 4.9640274]);
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let weight = ("linear.weight", &[3, 2][..], &WEIGHT[..]);
        let refusal = |config: &DenseConfig| load(config, &[weight]).err().unwrap().to_string();
        assert!(refusal(&config("Softmax", 3)).starts_with(
            "2_Dense/config.json: activation_function: \"Softmax\" is not supported; Identity, Tanh, GELU, ReLU"
        ));
        assert_eq!(
            refusal(&DenseConfig { in_features: 5, ..config("Tanh", 3) }),
            "2_Dense/config.json: in_features: 5, but the module before it gives 2"
        );
        for (config, tensor) in [
            (config("Tanh", 4), "linear.weight"),
            (DenseConfig { bias: true, ..config("Tanh", 3) }, "linear.bias"),
            (DenseConfig { residual: true, ..config("Tanh", 3) }, "residual.weight"),
        ] {
            let message = refusal(&config);
            assert!(message.starts_with("2_Dense/model.safetensors: ") && message.contains(tensor), "{message}");
        }
    }
}
