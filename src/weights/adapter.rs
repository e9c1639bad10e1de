//! PEFT adapters (LoRA and its kin: <https://github.com/huggingface/peft>), which lie beside or instead of weights and change what a
//! network computes.

use crate::files::{ModelFolder, inside};
use crate::{Error, Result};

/// The file that says that weights beside it are an adapter's, in the folder of a Transformer.
pub(crate) const ADAPTER_FILE: &str = "adapter_config.json";

/// Refuses an adapter in the subfolder `path`: without it the vectors would be the base model's.
pub(crate) fn refuse_adapter(folder: &ModelFolder, path: &str) -> Result<()> {
    match folder.file(&inside(path, ADAPTER_FILE))? {
        Some(_) => Err(adapter_refusal(path, &folder.root().display().to_string())),
        None => Ok(()),
    }
}

/// What is said of one, in a model that a user would find at `place`.
pub(crate) fn adapter_refusal(path: &str, place: &str) -> Error {
    let message = format!(
        "the model is a PEFT adapter, which votive does not apply. Merge it into its base model, where peft is installed:\n\
         from peft import PeftModel; from sentence_transformers import SentenceTransformer\n\
         model = SentenceTransformer(BASE)  # as base_model_name_or_path names it; or CrossEncoder(BASE)\n\
         model[0].auto_model = PeftModel.from_pretrained(model[0].auto_model, {:?}).merge_and_unload()\n\
         model.save_pretrained(FOLDER)  # then copy modules.json, and what it names, where the adapter has its own",
        inside(place, path).trim_end_matches('/')
    );
    Error::model(inside(path, ADAPTER_FILE), message)
}
