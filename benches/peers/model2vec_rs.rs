//! The crate model2vec-rs as a peer of `python -m benches static targets --rust PROGRAM`: a line of seconds for each line that it is
//! given. To build it: `cargo new m2v && cd m2v && cargo add model2vec-rs serde_json`, this file as src/main.rs, `cargo build --release`.

use std::io::{BufRead, Write};
use std::time::Instant;

use model2vec_rs::model::StaticModel;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let model = StaticModel::from_pretrained(&arguments[1], None, None, None).unwrap();
    let texts: Vec<String> = serde_json::from_slice(&std::fs::read(&arguments[2]).unwrap()).unwrap();
    for _ in std::io::stdin().lock().lines() {
        let start = Instant::now();
        let rows = model.encode(&texts);
        println!("{} {}", start.elapsed().as_secs_f64(), rows.len());
        std::io::stdout().flush().unwrap();
    }
}
