//! The configuration that a trainer leaves beside its log: only the sequence length is taken from
//! it, and only where the log does not say.

use super::fields::normal;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// Names without their ending.
const STEMS: &[&str] =
    &["config", "train_config", "training_config", "params", "hparams", "args", "train_args"];
const ENDINGS: &[&str] = &["yaml", "yml", "json", "toml"];
/// Longer ones are something else.
const LARGEST: u64 = 256 << 10;
/// What the length of a training sequence is called; a model's limit is not meant.
const NAMES: &[&str] = &[
    "seq_len",
    "seq_length",
    "sequence_length",
    "sequence_len",
    "train_seq_len",
    "max_target_length",
    "block_size",
    "context_length",
];

/// Tokens of a sequence by the configuration beside `log`, and the name of that file. `None` where
/// there is none or the files do not agree.
pub fn seq_len(log: &Path) -> Option<(f64, String)> {
    let dir = log.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let names = STEMS.iter().flat_map(|s| ENDINGS.iter().map(move |e| format!("{s}.{e}")));
    let mut said: Option<(f64, String)> = None;
    for name in names {
        for value in read(&dir.join(&name)).iter().flat_map(|text| lengths(text)) {
            match &said {
                None => said = Some((value, name.clone())),
                Some((before, _)) if *before == value => {}
                Some(_) => return None,
            }
        }
    }
    said
}

fn read(path: &Path) -> Option<String> {
    let meta = fs::metadata(path).ok().filter(|m| m.is_file() && m.len() <= LARGEST)?;
    let mut text = String::with_capacity(meta.len() as usize);
    File::open(path).ok()?.take(LARGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Every number behind such a name, in YAML, TOML or JSON.
fn lengths(text: &str) -> Vec<f64> {
    let bare = |t: &str| t.trim().trim_matches(['"', '\'']).to_string();
    let one = |line: &str| {
        let (name, value) = line.split('#').next()?.split_once([':', '='])?;
        let known = NAMES.contains(&normal(&bare(name)).as_str());
        bare(value).parse().ok().filter(|x: &f64| known && *x >= 1.0 && x.fract() == 0.0)
    };
    text.split(['\n', ',', '{', '}']).filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beside(files: &[(&str, &str)]) -> Option<(f64, String)> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        seq_len(&dir.path().join("metrics.jsonl"))
    }

    #[test]
    fn yaml_json_and_toml_say_it() {
        let said = |name: &str| Some((4096.0, name.to_string()));
        let yaml =
            "data:\n  batch_size: 8\n  seq_len: 4096 # tokens\nmodel:\n  max_seqlen: 131072\n";
        assert_eq!(beside(&[("config.yaml", yaml)]), said("config.yaml"));
        let json = "{\"dim\":64,\"data\":{\"seq_length\":4096},\"max_position_embeddings\":131072}";
        assert_eq!(beside(&[("params.json", json)]), said("params.json"));
        assert_eq!(
            beside(&[("train_config.toml", "[training]\nseq_len = 4096\n")]),
            said("train_config.toml")
        );
    }

    #[test]
    fn files_that_disagree_or_say_nothing_are_left() {
        assert_eq!(beside(&[("config.yaml", "seq_len: 4096\neval:\n  seq_len: 512\n")]), None);
        assert_eq!(beside(&[("config.json", "{\"vocab_size\": 32000}")]), None);
        assert_eq!(beside(&[("other.yaml", "seq_len: 4096")]), None);
        assert_eq!(beside(&[("config.yaml", "seq_len: ${model.len}")]), None);
        assert_eq!(beside(&[]), None);
    }
}
