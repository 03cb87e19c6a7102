//! Every reader of a message's body: any bytes are a message or an error.
use pgward::wire::read::{
    Bind, DataRow, Execute, Parse, Target, backend_key, error_fields, parameter_description, parameter_status, query,
    ready_for_query, row_description,
};

/// One input.
pub fn run(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else { return };
    match kind % 12 {
        0 => {
            if let Ok(bind) = Bind::read(body) {
                // What was counted is what is there, and nothing reads past it.
                assert_eq!(bind.values().count(), bind.count);
                let bytes: usize = bind.values().map(|v| v.map_or(0, <[u8]>::len)).sum();
                assert!(bytes <= body.len());
                for i in 0..bind.count {
                    bind.formats.code(i);
                    bind.result_formats.code(i);
                }
            }
        }
        1 => {
            if let Ok(mut row) = DataRow::read(body) {
                let mut bytes = 0;
                let whole = (0..row.count).all(|_| row.value().inspect(|v| bytes += v.map_or(0, <[u8]>::len)).is_ok());
                assert!(bytes <= body.len());
                let _ = whole && row.done().is_ok();
            }
        }
        2 => {
            if let Ok(parse) = Parse::read(body) {
                assert!(parse.oids().len() * 4 <= body.len());
                parse.oids().for_each(drop);
            }
        }
        3 => drop(Execute::read(body).is_ok()),
        4 => drop(Target::read(body, "Describe").is_ok()),
        5 => drop(query(body).is_ok()),
        6 => drop(row_description(body).is_ok()),
        7 => drop(parameter_description(body).is_ok()),
        8 => drop(parameter_status(body).is_ok()),
        9 => drop(error_fields(body).is_ok()),
        10 => drop(backend_key(body).is_ok()),
        _ => drop(ready_for_query(body).is_ok()),
    }
}
