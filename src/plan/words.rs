//! PostgreSQL's vocabulary as far as planning needs it.

/// Columns that every table has.
pub(super) fn is_system_column(name: &str) -> bool {
    matches!(name, "tableoid" | "xmin" | "cmin" | "xmax" | "cmax" | "ctid")
}

/// Reserved keywords (PostgreSQL documentation, appendix C): unquoted, they name no column or table.
pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.binary_search(&name).is_ok()
}

const RESERVED: [&str; 77] = [
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "current_catalog",
    "current_date",
    "current_role",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "from",
    "grant",
    "group",
    "having",
    "in",
    "initially",
    "intersect",
    "into",
    "lateral",
    "leading",
    "limit",
    "localtime",
    "localtimestamp",
    "not",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "placing",
    "primary",
    "references",
    "returning",
    "select",
    "session_user",
    "some",
    "symmetric",
    "table",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "when",
    "where",
    "window",
    "with",
];

/// Whether a word begins as one of [`runs_sql`] or [`shows_values`] does: one comparison that says no to nearly all words.
pub(super) fn is_notable(name: &str) -> bool {
    matches!(
        name.as_bytes().first_chunk(),
        Some(
            b"quer"
                | b"tabl"
                | b"sche"
                | b"data"
                | b"curs"
                | b"dbli"
                | b"cros"
                | b"ts_s"
                | b"ts_r"
                | b"conn"
                | b"xpat"
                | b"pg_g"
                | b"pg_l"
                | b"pg_s"
        )
    )
}

/// Functions that run SQL, or read tables, which their arguments name: a way around names in the text.
pub(super) fn runs_sql(name: &str) -> bool {
    name.starts_with("query_to_xml")
        || name.starts_with("table_to_xml")
        || name.starts_with("schema_to_xml")
        || name.starts_with("database_to_xml")
        || name.starts_with("cursor_to_xml")
        || name.starts_with("dblink")
        || name.starts_with("crosstab")
        || matches!(
            name,
            "ts_stat"
                | "ts_rewrite"
                | "connectby"
                | "xpath_table"
                | "pg_get_publication_tables"
                | "pg_logical_slot_get_changes"
                | "pg_logical_slot_peek_changes"
        )
}

/// System relations that show values of other tables' columns: samples of the planner's statistics.
pub(super) fn shows_values(name: &str) -> bool {
    matches!(
        name,
        "pg_stats" | "pg_stats_ext" | "pg_stats_ext_exprs" | "pg_statistic" | "pg_statistic_ext_data"
    )
}

/// Aggregates that need no value but only whether there is one.
pub(super) fn is_count(name: &str) -> bool {
    name == "count"
}

/// Aggregates of PostgreSQL 15: a SELECT that calls one has groups instead of rows.
pub(super) fn is_aggregate(name: &str) -> bool {
    matches!(
        name,
        "count"
            | "sum"
            | "avg"
            | "min"
            | "max"
            | "array_agg"
            | "string_agg"
            | "bool_and"
            | "bool_or"
            | "every"
            | "bit_and"
            | "bit_or"
            | "bit_xor"
            | "json_agg"
            | "jsonb_agg"
            | "json_object_agg"
            | "jsonb_object_agg"
            | "xmlagg"
            | "stddev"
            | "stddev_pop"
            | "stddev_samp"
            | "variance"
            | "var_pop"
            | "var_samp"
            | "corr"
            | "covar_pop"
            | "covar_samp"
            | "mode"
            | "percentile_cont"
            | "percentile_disc"
            | "range_agg"
            | "range_intersect_agg"
            | "regr_avgx"
            | "regr_avgy"
            | "regr_count"
            | "regr_intercept"
            | "regr_r2"
            | "regr_slope"
            | "regr_sxx"
            | "regr_sxy"
            | "regr_syy"
    )
}

/// Built-in functions and words before a parenthesis that change nothing of a session's state. A call of any other function is taken to
/// be able to.
pub(super) fn is_harmless_call(name: &str) -> bool {
    is_reserved(name) || is_aggregate(name) || HARMLESS.binary_search(&name).is_ok()
}

const HARMLESS: [&str; 187] = [
    "abs",
    "age",
    "array_append",
    "array_cat",
    "array_length",
    "array_lower",
    "array_position",
    "array_prepend",
    "array_remove",
    "array_replace",
    "array_to_json",
    "array_to_string",
    "array_upper",
    "ascii",
    "between",
    "bigint",
    "bit",
    "bit_length",
    "boolean",
    "btrim",
    "bytea",
    "cardinality",
    "cbrt",
    "ceil",
    "ceiling",
    "char",
    "char_length",
    "character",
    "character_length",
    "chr",
    "clock_timestamp",
    "coalesce",
    "col_description",
    "concat",
    "concat_ws",
    "conflict",
    "convert_from",
    "convert_to",
    "cos",
    "cume_dist",
    "current_database",
    "current_schema",
    "current_schemas",
    "current_setting",
    "currval",
    "date",
    "date_bin",
    "date_part",
    "date_trunc",
    "decimal",
    "decode",
    "degrees",
    "dense_rank",
    "div",
    "encode",
    "exists",
    "exp",
    "extract",
    "filter",
    "first_value",
    "float",
    "floor",
    "format",
    "format_type",
    "gen_random_uuid",
    "generate_series",
    "generate_subscripts",
    "greatest",
    "has_schema_privilege",
    "has_table_privilege",
    "if",
    "in",
    "initcap",
    "int",
    "integer",
    "interval",
    "json_build_array",
    "json_build_object",
    "jsonb_build_array",
    "jsonb_build_object",
    "jsonb_set",
    "jsonb_strip_nulls",
    "jsonb_typeof",
    "key",
    "lag",
    "last_value",
    "lastval",
    "lateral",
    "lead",
    "least",
    "left",
    "length",
    "ln",
    "log",
    "lower",
    "lpad",
    "ltrim",
    "make_date",
    "make_interval",
    "make_timestamp",
    "materialized",
    "md5",
    "mod",
    "nextval",
    "now",
    "nth_value",
    "ntile",
    "nullif",
    "numeric",
    "obj_description",
    "octet_length",
    "over",
    "overlay",
    "partition",
    "percent_rank",
    "pg_backend_pid",
    "pg_encoding_to_char",
    "pg_get_constraintdef",
    "pg_get_expr",
    "pg_get_indexdef",
    "pg_get_userbyid",
    "pg_get_viewdef",
    "pg_relation_size",
    "pg_size_pretty",
    "pg_table_is_visible",
    "pg_total_relation_size",
    "pg_type_is_visible",
    "pg_typeof",
    "pi",
    "position",
    "power",
    "precision",
    "quote_ident",
    "quote_literal",
    "radians",
    "random",
    "rank",
    "regexp_match",
    "regexp_matches",
    "regexp_replace",
    "regexp_split_to_array",
    "repeat",
    "replace",
    "reverse",
    "right",
    "round",
    "row",
    "row_number",
    "row_to_json",
    "rpad",
    "rtrim",
    "set",
    "set_bit",
    "sha256",
    "sign",
    "split_part",
    "sqrt",
    "starts_with",
    "statement_timestamp",
    "string_to_array",
    "strpos",
    "substr",
    "substring",
    "time",
    "timestamp",
    "timestamptz",
    "to_char",
    "to_date",
    "to_hex",
    "to_json",
    "to_jsonb",
    "to_number",
    "to_timestamp",
    "transaction_timestamp",
    "translate",
    "trim",
    "trunc",
    "txid_current",
    "unnest",
    "upper",
    "using",
    "uuid_generate_v4",
    "values",
    "varchar",
    "version",
    "width_bucket",
    "within",
];
