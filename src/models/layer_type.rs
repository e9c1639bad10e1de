//! Which tokens the layers of a network see: all, or those of a window, by `layer_types` of config.json.

use crate::Result;
use crate::config::Object;

/// Which tokens a layer's queries see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LayerType {
    Full,
    Sliding,
}

impl LayerType {
    /// Its name in config.json.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Full => "full_attention",
            Self::Sliding => "sliding_attention",
        }
    }

    /// The types of so many layers: those that config.json lists or, without a list, those that `default` gives.
    pub(super) fn of_layers(file: &Object, layers: usize, default: impl Fn(usize) -> Self) -> Result<Vec<Self>> {
        let Some(names) = file.texts("layer_types")? else { return Ok((0..layers).map(default).collect()) };
        if names.len() != layers {
            let message = format!("expected one of each of the {layers} layers, found {}", names.len());
            return Err(file.error("layer_types", message));
        }
        let of_name = |name: &str| {
            [Self::Full, Self::Sliding].into_iter().find(|layer_type| layer_type.name() == name).ok_or_else(|| {
                let known = [Self::Full.name(), Self::Sliding.name()].join(", ");
                file.error("layer_types", format!("{name:?} is not supported; supported: {known}"))
            })
        };
        names.into_iter().map(of_name).collect()
    }

    /// The types of layers of which, without a list, every sixth sees all, or every so many as config.json says.
    pub(super) fn by_pattern(file: &Object, layers: usize) -> Result<Vec<Self>> {
        let keys = ["sliding_window_pattern", "_sliding_window_pattern"];
        let key = keys.into_iter().find(|key| file.contains(key)).unwrap_or(keys[0]);
        let pattern = file.size(key, 1 << 10, 6)?;
        Self::of_layers(file, layers, |i| if (i + 1).is_multiple_of(pattern) { Self::Full } else { Self::Sliding })
    }
}
