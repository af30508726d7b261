//! Prints the public API of the library, a line for each thing that users can name: `face target/doc/NAME.json`, a file that
//! rustdoc wrote with its hidden items. `scripts/public-api` calls this.

use std::error::Error;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use serde_json::Value;

fn main() -> Result<(), Box<dyn Error>> {
    let file: OsString = std::env::args_os()
        .nth(1)
        .ok_or("name the file that rustdoc wrote")?;
    let mut crate_: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    forget_what_is_hidden(&mut crate_);
    let shown = PathBuf::from(file).with_extension("shown.json");
    std::fs::write(&shown, serde_json::to_vec(&crate_)?)?;
    let api = public_api::Builder::from_rustdoc_json(shown)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()?;
    let mut out = std::io::stdout().lock();
    for item in api.items() {
        writeln!(out, "{item}")?;
    }
    Ok(())
}

/// Takes hidden items out of the modules that hold them. What another module shows of them stays.
fn forget_what_is_hidden(crate_: &mut Value) {
    let Some(index) = crate_.get_mut("index").and_then(Value::as_object_mut) else {
        return;
    };
    let is_hidden = |item: &Value| item["attrs"].to_string().contains("#[doc(hidden)]");
    let hidden: Vec<String> = index
        .iter()
        .filter(|(_, item)| is_hidden(item))
        .map(|(id, _)| id.clone())
        .collect();
    for item in index.values_mut() {
        let inside = item
            .pointer_mut("/inner/module/items")
            .and_then(Value::as_array_mut);
        if let Some(inside) = inside {
            inside.retain(|id| !hidden.contains(&id.to_string()));
        }
    }
}
