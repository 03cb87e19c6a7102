//! What the expressions of an index are, from `pg_index.indexprs`: a `pg_node_tree`, written as text (`src/backend/nodes/outfuncs.c`).
//!
//! `pg_get_indexdef()` would print SQL, but looks at the catalog of its own moment rather than the query's, and opens the table: it fails where the table was
//! dropped just now, and waits behind whoever alters it. A node tree is read as it is stored.

/// Functions, types and tree depth that can occur in an expression over a tag. OIDs of built-in objects never change (pg_proc.dat, pg_type.dat).
const SUBSTRING_OF_BYTEA: &str = "2012";
const BYTEA: &str = "17";
const INT4: &str = "23";
const MAX_DEPTH: usize = 8;

/// For each expression of an index: the number of the column over whose equality tag it is, `substring(email from 11 for 16)`; `None` for any other.
/// Empty where the tree can't be read.
pub(super) fn tagged_columns(tree: &str) -> Vec<Option<i16>> {
    let mut tokens = Tokens { rest: tree };
    match value(&mut tokens, MAX_DEPTH) {
        Some(Value::List(expressions)) => expressions.iter().map(tagged_column).collect(),
        _ => Vec::new(),
    }
}

fn tagged_column(expression: &Value<'_>) -> Option<i16> {
    let function = expression.node("FUNCEXPR")?;
    let [column, from, length] = function.list("args")? else {
        return None;
    };
    let is_tag =
        function.atom("funcid")? == SUBSTRING_OF_BYTEA && integer(from) == Some(11) && integer(length) == Some(16);
    // A domain's value is relabelled as one of its base type.
    let column = match column.node("RELABELTYPE") {
        Some(relabelled) if relabelled.atom("resulttype") == Some(BYTEA) => relabelled.field("arg")?.first()?,
        _ => column,
    };
    let column = column.node("VAR")?;
    let is_own = column.atom("varno")? == "1" && column.atom("varlevelsup")? == "0";
    (is_tag && is_own).then(|| column.atom("varattno")?.parse().ok())?
}

/// The value of a constant of type `int4`: the bytes of a datum in the server's order, `4 [ 11 0 0 0 0 0 0 0 ]`. Only below 128.
fn integer(constant: &Value<'_>) -> Option<u8> {
    let constant = constant.node("CONST")?;
    if constant.atom("consttype")? != INT4 {
        return None;
    }
    let [Value::Atom(_), Value::Atom("["), bytes @ .., Value::Atom("]")] = constant.field("constvalue")? else {
        return None;
    };
    let bytes: Vec<u8> = bytes
        .iter()
        .map(|byte| match byte {
            Value::Atom(byte) => byte.parse().ok(),
            _ => None,
        })
        .collect::<Option<_>>()?;
    match &bytes[..] {
        [value, rest @ ..] | [rest @ .., value] if rest.iter().all(|b| *b == 0) => Some(*value),
        _ => None,
    }
}

/// A part of a node tree.
enum Value<'a> {
    Atom(&'a str),
    /// `( … )`
    List(Vec<Value<'a>>),
    /// `{NAME :field value …}`
    Node(Node<'a>),
}

struct Node<'a> {
    name: &'a str,
    /// A field has one value, but for data, which is a length and bytes in brackets.
    fields: Vec<(&'a str, Vec<Value<'a>>)>,
}

impl<'a> Value<'a> {
    fn node(&self, name: &str) -> Option<&Node<'a>> {
        match self {
            Value::Node(node) if node.name == name => Some(node),
            _ => None,
        }
    }
}

impl<'a> Node<'a> {
    fn field(&self, name: &str) -> Option<&[Value<'a>]> {
        let found = self.fields.iter().find(|(field, _)| *field == name);
        found.map(|(_, values)| &values[..])
    }
    fn atom(&self, name: &str) -> Option<&'a str> {
        match self.field(name)? {
            [Value::Atom(atom)] => Some(atom),
            _ => None,
        }
    }
    fn list(&self, name: &str) -> Option<&[Value<'a>]> {
        match self.field(name)? {
            [Value::List(values)] => Some(values),
            _ => None,
        }
    }
}

/// The next value; `None` where there is none, or one that is too deep.
fn value<'a>(tokens: &mut Tokens<'a>, depth: usize) -> Option<Value<'a>> {
    let depth = depth.checked_sub(1)?;
    Some(match tokens.next()? {
        "(" => {
            let mut values = Vec::new();
            while tokens.peek()? != ")" {
                values.push(value(tokens, depth)?);
            }
            tokens.next();
            Value::List(values)
        }
        "{" => {
            let name = tokens.next()?;
            let mut fields: Vec<(&str, Vec<Value<'_>>)> = Vec::new();
            while tokens.peek()? != "}" {
                if let Some(field) = tokens.peek()?.strip_prefix(':') {
                    tokens.next();
                    fields.push((field, Vec::new()));
                } else {
                    let (_, values) = fields.last_mut()?;
                    values.push(value(tokens, depth)?);
                }
            }
            tokens.next();
            Value::Node(Node { name, fields })
        }
        ")" | "}" => return None,
        atom => Value::Atom(atom),
    })
}

/// As `pg_strtok` reads them: a backslash takes the meaning from what stands behind it.
struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    fn peek(&self) -> Option<&'a str> {
        Tokens { rest: self.rest }.next()
    }

    fn next(&mut self) -> Option<&'a str> {
        const ALONE: [char; 6] = ['(', ')', '{', '}', '[', ']'];
        let text = self.rest.trim_start_matches([' ', '\n', '\t']);
        let first = text.chars().next()?;
        let mut escaped = false;
        let length = if ALONE.contains(&first) {
            first.len_utf8()
        } else {
            let end = text.find(|c| {
                let ends = !escaped && (ALONE.contains(&c) || [' ', '\n', '\t'].contains(&c));
                escaped = !escaped && c == '\\';
                ends
            });
            end.unwrap_or(text.len())
        };
        let (token, rest) = text.split_at(length);
        self.rest = rest;
        Some(token)
    }
}
