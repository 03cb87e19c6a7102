//! Bodies of frames, read without copying. Every reader checks that the body is used up to its last byte, so that pgward and the
//! server can't read the same bytes differently (PostgreSQL documentation, 55.7).

use super::frame::Malformed;

type Result<T> = std::result::Result<T, Malformed>;

/// A cursor over one frame's body.
#[derive(Clone, Copy)]
pub struct Body<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Body<'a> {
    /// Over `bytes`; `what` names the message in errors.
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }
    #[cold]
    fn endless(&self) -> Malformed {
        Malformed::new(format!("{} message has a string without an end", self.what))
    }
    #[cold]
    fn short(&self) -> Malformed {
        Malformed::new(format!("{} message is too short", self.what))
    }
    /// The next `n` bytes.
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or_else(|| self.short())?;
        self.rest = rest;
        Ok(taken)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.short())?;
        self.rest = rest;
        Ok(*taken)
    }
    /// One byte.
    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }
    /// Two bytes, unsigned: counts are.
    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.array()?))
    }
    /// Two bytes, signed.
    pub fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.array()?))
    }
    /// Four bytes, unsigned.
    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }
    /// Four bytes, signed.
    pub fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }
    /// A string up to its NUL, which is consumed.
    pub fn cstr(&mut self) -> Result<&'a [u8]> {
        let at = self.rest.iter().position(|&b| b == 0).ok_or_else(|| self.endless())?;
        let string = &self.rest[..at];
        self.rest = &self.rest[at + 1..];
        Ok(string)
    }
    /// A value: length of four bytes (-1: NULL), then as many bytes.
    pub fn value(&mut self) -> Result<Option<&'a [u8]>> {
        match self.i32()? {
            -1 => Ok(None),
            n => {
                let n = usize::try_from(n)
                    .map_err(|_| Malformed::new(format!("{} message has a negative length", self.what)))?;
                self.bytes(n).map(Some)
            }
        }
    }
    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
    /// Nothing may be left.
    pub fn done(&self) -> Result<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Malformed::new(format!(
                "{} message has bytes behind its end",
                self.what
            )))
        }
    }
}

/// Parse
#[derive(Clone, Copy, Debug)]
pub struct Parse<'a> {
    /// Statement name; empty for the unnamed one.
    pub name: &'a [u8],
    /// Its text, in the client's encoding.
    pub sql: &'a [u8],
    oids: &'a [u8],
}

impl<'a> Parse<'a> {
    /// Reads a body.
    pub fn read(body: &'a [u8]) -> Result<Self> {
        let mut b = Body::new(body, "Parse");
        let (name, sql) = (b.cstr()?, b.cstr()?);
        let count = usize::from(b.u16()?);
        let oids = b.bytes(count * 4)?;
        b.done()?;
        Ok(Self { name, sql, oids })
    }
    /// The parameter types declared.
    pub fn oids(&self) -> impl ExactSizeIterator<Item = u32> + 'a {
        self.oids
            .chunks_exact(4)
            .map(|c| u32::from_be_bytes([c[0], c[1], c[2], c[3]]))
    }
}

/// Bind
#[derive(Clone, Copy, Debug)]
pub struct Bind<'a> {
    /// Portal name.
    pub portal: &'a [u8],
    /// Statement name.
    pub statement: &'a [u8],
    /// Parameter formats: none, one for all, or one each.
    pub formats: Formats<'a>,
    /// Number of parameters.
    pub count: usize,
    values: &'a [u8],
    /// Result formats: none, one for all, or one each.
    pub result_formats: Formats<'a>,
}

impl<'a> Bind<'a> {
    /// Reads the names of portal and statement at the front of a body, which may hold more than there is yet.
    pub fn names(body: &'a [u8]) -> Result<(&'a [u8], &'a [u8])> {
        let mut b = Body::new(body, "Bind");
        Ok((b.cstr()?, b.cstr()?))
    }
    /// Reads a body, all of it.
    pub fn read(body: &'a [u8]) -> Result<Self> {
        let mut b = Body::new(body, "Bind");
        let (portal, statement) = (b.cstr()?, b.cstr()?);
        let formats = Formats::read(&mut b)?;
        let count = usize::from(b.u16()?);
        let values = b.rest();
        for _ in 0..count {
            b.value()?;
        }
        let values = &values[..values.len() - b.rest().len()];
        let result_formats = Formats::read(&mut b)?;
        b.done()?;
        if formats.len() > 1 && formats.len() != count {
            return Err(Malformed::new(format!(
                "bind message has {} parameter formats but {count} parameters",
                formats.len()
            )));
        }
        Ok(Self {
            portal,
            statement,
            formats,
            count,
            values,
            result_formats,
        })
    }
    /// The parameters' values.
    pub fn values(&self) -> impl Iterator<Item = Option<&'a [u8]>> + 'a {
        let mut b = Body::new(self.values, "Bind");
        (0..self.count).map_while(move |_| b.value().ok())
    }
}

/// A list of format codes.
#[derive(Clone, Copy, Debug)]
pub struct Formats<'a>(&'a [u8]);

impl<'a> Formats<'a> {
    /// Text for all.
    pub const TEXT: Formats<'static> = Formats(&[]);

    fn read(b: &mut Body<'a>) -> Result<Self> {
        let n = usize::from(b.u16()?);
        Ok(Self(b.bytes(n * 2)?))
    }
    /// How many codes are given.
    pub fn len(&self) -> usize {
        self.0.len() / 2
    }
    /// Whether none is given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// The raw code of column or parameter `index`: the given one, the one for all, or 0. Codes other than 0 and 1 are the server's to refuse.
    pub fn code(&self, index: usize) -> u16 {
        let at = |i: usize| {
            self.0
                .get(i * 2..i * 2 + 2)
                .map_or(0, |c| u16::from_be_bytes([c[0], c[1]]))
        };
        if self.len() == 1 { at(0) } else { at(index) }
    }
}

/// `S` or `P` with a name: Describe, Close.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// True for a portal, false for a statement.
    pub portal: bool,
    /// Its name.
    pub name: &'a [u8],
}

impl<'a> Target<'a> {
    /// Reads a body.
    pub fn read(body: &'a [u8], what: &'static str) -> Result<Self> {
        let mut b = Body::new(body, what);
        let portal = match b.u8()? {
            b'S' => false,
            b'P' => true,
            _ => {
                return Err(Malformed::new(format!(
                    "{what} message names neither a statement nor a portal"
                )));
            }
        };
        let name = b.cstr()?;
        b.done()?;
        Ok(Self { portal, name })
    }
}

/// Execute
#[derive(Clone, Copy, Debug)]
pub struct Execute<'a> {
    /// Portal name.
    pub portal: &'a [u8],
    /// Row limit; 0 for none.
    pub limit: u32,
}

impl<'a> Execute<'a> {
    /// Reads a body.
    pub fn read(body: &'a [u8]) -> Result<Self> {
        let mut b = Body::new(body, "Execute");
        let (portal, limit) = (b.cstr()?, b.u32()?);
        b.done()?;
        Ok(Self { portal, limit })
    }
}

/// A Query's text: exactly one string.
pub fn query(body: &[u8]) -> Result<&[u8]> {
    let mut b = Body::new(body, "Query");
    let sql = b.cstr()?;
    b.done()?;
    Ok(sql)
}

/// One column of a RowDescription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Name.
    pub name: &'a [u8],
    /// `pg_class.oid`, or 0.
    pub table: u32,
    /// `pg_attribute.attnum`, or 0.
    pub attnum: i16,
    /// `pg_type.oid`; for a domain its base type's.
    pub type_oid: u32,
    /// `pg_type.typlen`
    pub typlen: i16,
    /// `pg_attribute.atttypmod`
    pub typmod: i32,
    /// Format code.
    pub format: u16,
}

impl<'a> Field<'a> {
    fn read(b: &mut Body<'a>) -> Result<Self> {
        Ok(Self {
            name: b.cstr()?,
            table: b.u32()?,
            attnum: b.i16()?,
            type_oid: b.u32()?,
            typlen: b.i16()?,
            typmod: b.i32()?,
            format: b.u16()?,
        })
    }
}

/// The columns of a RowDescription, one after the other. The last one is an error where the body does not end behind it.
pub fn fields(body: &[u8]) -> Result<impl Iterator<Item = Result<Field<'_>>>> {
    let mut b = Body::new(body, "RowDescription");
    let count = b.u16()?;
    if count == 0 {
        b.done()?;
    }
    Ok((1..=count).map(move |n| {
        let field = Field::read(&mut b)?;
        if n == count {
            b.done()?;
        }
        Ok(field)
    }))
}

/// Reads a RowDescription.
pub fn row_description(body: &[u8]) -> Result<Vec<Field<'_>>> {
    fields(body)?.collect()
}

/// A DataRow's values; the count is checked against the bytes by [`DataRow::done`].
pub struct DataRow<'a> {
    body: Body<'a>,
    /// Number of columns.
    pub count: usize,
}

impl<'a> DataRow<'a> {
    /// Reads the count.
    pub fn read(body: &'a [u8]) -> Result<Self> {
        let mut body = Body::new(body, "DataRow");
        let count = usize::from(body.u16()?);
        Ok(Self { body, count })
    }
    /// The next value. Call it `count` times, then [`Self::done`].
    pub fn value(&mut self) -> Result<Option<&'a [u8]>> {
        self.body.value()
    }
    /// Nothing may be left.
    pub fn done(&self) -> Result<()> {
        self.body.done()
    }
}

/// ParameterDescription's type OIDs.
pub fn parameter_description(body: &[u8]) -> Result<Vec<u32>> {
    let mut b = Body::new(body, "ParameterDescription");
    let count = usize::from(b.u16()?);
    let oids = (0..count).map(|_| b.u32()).collect::<Result<_>>()?;
    b.done()?;
    Ok(oids)
}

/// A ParameterStatus: name and value.
pub fn parameter_status(body: &[u8]) -> Result<(&[u8], &[u8])> {
    let mut b = Body::new(body, "ParameterStatus");
    let status = (b.cstr()?, b.cstr()?);
    b.done()?;
    Ok(status)
}

/// The fields of an ErrorResponse or NoticeResponse: code and text.
pub fn error_fields(body: &[u8]) -> Result<Vec<(u8, &[u8])>> {
    let mut b = Body::new(body, "ErrorResponse");
    let mut fields = Vec::with_capacity(12);
    loop {
        match b.u8()? {
            0 => {
                b.done()?;
                return Ok(fields);
            }
            code => fields.push((code, b.cstr()?)),
        }
    }
}

/// BackendKeyData: process id and secret.
pub fn backend_key(body: &[u8]) -> Result<(u32, &[u8])> {
    let mut b = Body::new(body, "BackendKeyData");
    let process_id = b.u32()?;
    let secret = b.rest();
    if !(4..=256).contains(&secret.len()) {
        return Err(Malformed::new("BackendKeyData message has a key of a wrong length"));
    }
    Ok((process_id, secret))
}

/// The state byte of a ReadyForQuery.
pub fn ready_for_query(body: &[u8]) -> Result<u8> {
    let mut b = Body::new(body, "ReadyForQuery");
    let state = b.u8()?;
    b.done()?;
    Ok(state)
}
