//! Texts of token ids.

use std::sync::Arc;

use crate::serve::aside::aside;
use crate::serve::fault::Fault;
use crate::serve::served_model::ServedModel;

/// The texts of lists of ids, which a field of a request has. `with_special`: with what special tokens are written as.
///
/// # Errors
/// A fault about the field where an id is none of the model's.
pub(super) async fn decoded(
    field: &'static str,
    lists: Vec<Vec<u32>>,
    model: Arc<ServedModel>,
    with_special: bool,
) -> Result<Vec<String>, Fault> {
    aside("decoding ids", move || {
        let tokenizer = model.routes.main().network().tokenizer();
        let decode = |ids: &Vec<u32>| match ids.iter().find(|&&id| tokenizer.token(id).is_none()) {
            Some(id) => Err(Fault::value(field, format!("{id} is no id of the model's tokenizer"))),
            None => Ok(tokenizer.decode(ids, with_special)?),
        };
        lists.iter().map(decode).collect()
    })
    .await
}
