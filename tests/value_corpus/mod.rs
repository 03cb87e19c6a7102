//! Inputs for the comparison with a server: written ones, good and bad, and ones made from them by chance. The same on every run.

/// Chance that repeats itself: splitmix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, bound: usize) -> usize {
        (self.word() % bound.max(1) as u64) as usize
    }
    pub fn byte(&mut self) -> u8 {
        self.word() as u8
    }
}

/// `written`, and `more` variants with characters of `alphabet` put in, changed or taken out.
fn varied(written: &[&str], alphabet: &str, more: usize, random: &mut Random) -> Vec<Vec<u8>> {
    let mut inputs: Vec<Vec<u8>> = written.iter().map(|text| text.as_bytes().to_vec()).collect();
    let alphabet: Vec<char> = alphabet.chars().collect();
    for _ in 0..more {
        let mut text: Vec<char> = written[random.below(written.len())].chars().collect();
        for _ in 0..=random.below(3) {
            let character = alphabet[random.below(alphabet.len())];
            let at = random.below(text.len() + 1);
            match random.below(3) {
                0 => text.insert(at, character),
                1 if at < text.len() => text[at] = character,
                _ if at < text.len() => {
                    text.remove(at);
                }
                _ => {}
            }
        }
        inputs.push(text.into_iter().collect::<String>().into_bytes());
    }
    inputs
}

pub fn texts(random: &mut Random) -> Vec<Vec<u8>> {
    let written = [
        "",
        " ",
        "a",
        "a ",
        "abcde",
        "abcde ",
        "abcde    ",
        "abcdef",
        "  abc",
        "abc  ",
        "홍길동",
        "홍길동전입니",
        "é",
        "e\u{301}",
        "😀😀😀😀😀",
        "😀😀😀😀😀 ",
        "tab\t",
        "new\nline",
        "\u{7f}",
        "quote'\"",
        "\\x41",
        "김철수   ",
        "abcd\u{3000}\u{3000}",
    ];
    let mut inputs = varied(&written, " ab홍😀\t", 300, random);
    for bad in [
        &b"\0"[..],
        b"a\0b",
        b"\xff",
        b"abc\x80",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe2\x82",
        b"\xf0\x9f\x98",
    ] {
        inputs.push(bad.to_vec());
    }
    inputs
}

pub fn integers(random: &mut Random) -> Vec<Vec<u8>> {
    let written = [
        "0",
        "-0",
        "+0",
        "1",
        "-1",
        "+17",
        " 42 ",
        "\t7\n",
        "\u{b}8\u{c}",
        "00012",
        "32767",
        "32768",
        "-32768",
        "-32769",
        "2147483647",
        "2147483648",
        "-2147483648",
        "-2147483649",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999999x",
        "",
        " ",
        "-",
        "+",
        "- 1",
        "1 2",
        "1.0",
        "1e3",
        "0x10",
        "0b1",
        "0o7",
        "1_000",
        "١",
        "x",
        "12x",
        "--1",
        "+-1",
    ];
    varied(&written, "0123456789+- .ex_\t", 600, random)
}

pub fn booleans(random: &mut Random) -> Vec<Vec<u8>> {
    let written = [
        "t", "f", "true", "FALSE", " tRue ", "yes", "no", "y", "n", "on", "off", "of", "o", "1", "0", "", " ", "10",
        "tru", "truee", "onn", "2",
    ];
    varied(&written, "truefalsyno01 ", 300, random)
}

pub fn uuids(random: &mut Random) -> Vec<Vec<u8>> {
    let written = [
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
        "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
        "a0eebc999c0b4ef8bb6d6bb9bd380a11",
        "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
        "{a0eebc999c0b4ef8bb6d6bb9bd380a11",
        "a0eebc999c0b4ef8bb6d6bb9bd380a11}",
        "",
        " a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "00000000-0000-0000-0000-000000000000",
    ];
    varied(&written, "0aF-{}g ", 400, random)
}

pub fn byteas(random: &mut Random) -> Vec<Vec<u8>> {
    let written = [
        "",
        "abc",
        "\\x",
        "\\x00ff7f",
        "\\xDEADbeef",
        "\\x de ad",
        "\\xd e",
        "\\x0",
        "\\xzz",
        "\\X00",
        "\\\\",
        "\\000\\377",
        "\\400",
        "\\12",
        "\\",
        "a\\\\b",
        "\\001x\\134",
        "홍",
        "\t'\"",
        "~\u{7f}",
        "\\x1\n2",
    ];
    varied(&written, "\\x0123478 af\n홍", 600, random)
}

pub fn numbers(random: &mut Random) -> Vec<Vec<u8>> {
    let written = [
        "0",
        "-0",
        "0.0",
        "-0.00",
        "1",
        "+1",
        "1.5",
        "1.50",
        "1.500",
        "-1.25",
        " 12.345 ",
        "00123.4500",
        ".5",
        "5.",
        ".",
        "",
        "-",
        "1e5",
        "1E-5",
        "1e+3",
        "1e 3",
        "1e",
        "1e+",
        "1.2.3",
        "1x",
        "NaN",
        "nan",
        "-nan",
        "+NaN",
        "Infinity",
        "-Infinity",
        "+inf",
        "inf",
        "-INF",
        "infinit",
        "infinityx",
        "0x1F",
        "1_000",
        "99.995",
        "99.994999",
        "999.995",
        "9999.5",
        "99999999.995",
        "99999999.994",
        "-99999999.995",
        "0.00001",
        "0.0000149",
        "0.000015",
        "12345678901234567890.123456789012345678901234567890",
        "1e1000",
        "1e308",
        "1.7976931348623157e308",
        "1.7976931348623159e308",
        "1e309",
        "5e-324",
        "2e-324",
        "2.4703282292062327e-324",
        "1e-400",
        "1e131071",
        "1e131072",
        "1e-16383",
        "1e-16384",
        "1e99999999999",
        "1e-99999999999",
        "0e5000",
        "0e-20000",
        "1e2147483647",
        "1000",
        "10000",
        "100000000",
        "1449",
        "1450",
        "1550",
        "99949",
        "99950",
        "50",
        "49",
        "0.5",
        "0.49999",
        "9999",
        "99999",
        "0.9999",
        "0.99995",
        "0.00999",
        "9007199254740993",
        "0.1",
        "0.3",
        "123456789.123456789e-7",
        "1 2",
        "1\u{a0}",
        "- 1",
    ];
    let mut inputs = varied(&written, "0123456789+-. eE9", 1500, random);
    for _ in 0..500 {
        let digits: String = (0..1 + random.below(30))
            .map(|_| char::from(b"0123456789999555"[random.below(16)]))
            .collect();
        let point = random.below(digits.len() + 1);
        let exponent = random.below(40) as i64 - 20;
        inputs.push(format!("{}.{}e{exponent}", &digits[..point], &digits[point..]).into_bytes());
    }
    inputs
}

pub fn dates(random: &mut Random) -> Vec<Vec<u8>> {
    let written = [
        "1999-01-08",
        "1999-1-8",
        "2000-02-29",
        "1900-02-29",
        "2024-02-30",
        "2024-13-01",
        "2024-00-10",
        "2024-01-00",
        "2024-01-32",
        "0001-01-01",
        "0000-01-01",
        "0001-01-01 BC",
        "0044-03-15 BC",
        "4714-11-24 BC",
        "4714-11-23 BC",
        "4713-01-01 bc",
        "5874897-12-31",
        "5874898-01-01",
        "294276-12-31 23:59:59.999999",
        "294277-01-01",
        "20240115",
        "990108",
        "19990108",
        "1999.008",
        "1999-008",
        "99-01-08",
        "08-01-99",
        "1/8/1999",
        "1/18/1999",
        "18/1/1999",
        "01/02/03",
        "99/1/2",
        "1.2.1999",
        "18.1.1999",
        "January 8, 1999",
        "Jan 8 1999",
        "8 January 1999",
        "8-Jan-1999",
        "Jan-08-1999",
        "1999-Jan-08",
        "99-Jan-08",
        "08-Jan-99",
        "Jan-08-99",
        "8 Jan 99",
        "99 Jan 8",
        "1999 Jan 8",
        "Mon Jan 15 10:30:00 2024",
        "Sat 13 Feb 17:32:01 1998",
        "sept 5 2001",
        "2001 september 05",
        "Thu, 08 Jan 1999 04:05:06 GMT",
        "Friday 1999-01-08",
        "1999-01-08 04:05:06",
        "1999-01-08 04:05",
        "1999-01-08 04:05:06.789",
        "1999-01-08T04:05:06",
        "1999-01-08t04:05:06Z",
        "1999-01-08 04:05:06Z",
        "1999-01-08 04:05:06 +09",
        "1999-01-08 04:05:06+09:30",
        "1999-01-08 04:05:06-0830",
        "1999-01-08 04:05:06-08:30:15",
        "1999-01-08 04:05:06 - 8",
        "1999-01-08 04:05:06+15:59",
        "1999-01-08 04:05:06+16",
        "1999-01-08 04:05:06+9:99",
        "1999-01-08 04:05:06 UTC",
        "1999-01-08 04:05:06 gmt",
        "1999-01-08 04:05:06 America/New_York",
        "1999-01-08 04:05:06 asia/seoul",
        "1999-01-08 04:05:06 Nowhere/Atall",
        "1999-01-08 04:05 PM",
        "1999-01-08 12:05 AM",
        "1999-01-08 12:05 PM",
        "1999-01-08 13:05 PM",
        "1999-01-08 24:00:00",
        "1999-01-08 24:00:01",
        "1999-01-08 23:59:60",
        "1999-01-08 23:60:00",
        "1999-01-08 25:00",
        "1999-01-08 04:05:06.9999995",
        "1999-01-08 23:59:59.9999999",
        "1999-01-08 04:05:06.1234565",
        "1999-01-08 04:05:06.5",
        "1999-12-31 23:59:59.5",
        "2000-01-01 00:00:00.0005",
        "1999-12-31 23:59:59.9995",
        "19990108T040506",
        "19990108 040506",
        "19990108T0405",
        "19990108T040506.789",
        "19990108T040506+09",
        "1999-01-08T040506-08",
        "20240115103000",
        "1999-01-08 040506",
        "040506 19990108",
        "04:05:06 1999-01-08",
        "04:05 Jan 8 1999",
        "1999-01-08 at 04:05",
        "1999-01-08 allballs",
        "infinity",
        "-infinity",
        "+infinity",
        "INFINITY",
        "epoch",
        "Epoch",
        "infinity 1999-01-08",
        "now",
        "today",
        "1999-01-08 now",
        "J2451187",
        "",
        " ",
        "x",
        "1999",
        "1999-01",
        "1999-01-08x",
        "1999-01-08 ",
        " 1999-01-08",
        "1999--01-08",
        "1999-01-",
        "-1999-01-08",
        "1999-01-08 04:05:06 04:05:06",
        "1999-01-08 1999-01-08",
        "Jan",
        "8 Jan",
        "Feb 30 2024",
        "Jan 8 1999 BC",
        "1999-01-08 AD",
        "10000-01-01",
        "123456-07-08 09:10:11.5",
        "2024-03-10 02:30:00",
        "2024-11-03 01:30:00",
        "2024-03-31 01:30",
        "1999-01-08 04:05:06.",
        "1999-01-08 4:5:6",
        "1999-01-08 004:05:06",
        "1999-01-08 04::06",
        "1999-01-08 04:05:06:07",
        "1999-01-08 .5",
        "1999,01,08",
        "1999/01/08",
        "1999.01.08",
        "08.01.1999 04:05:06.5 UTC",
        "01/08/1999 04:05:06.5 UTC",
        "Fri Jan 08 04:05:06.789 1999 UTC",
        "Fri 08 Jan 04:05:06 1999 UTC",
        "(1999-01-08)",
        "1999-01-08;",
        "2147483648-01-01",
        "99999999999-01-01",
        "1999-01-08 04:05:06 zulu",
        "1999-01-08 04:05:06 z z",
        "1999-01-08T",
        "T04:05",
        "1999-01-08 T 04:05:06",
        "é",
        "1999-01-08é",
        "99999999",
        "1999-01-08 04:05:06 Japan",
        "1999-01-08 04:05:06 EST5EDT",
        "1999-01-08 04:05:06 singapore",
        "1999-01-08 04:05:06 +09 BC",
        "2001-02-03 04:05:06+00:00",
        "366 1999",
        "2000.366",
        "2001.366",
        "1999 008",
        "70-01-01",
        "69-12-31",
        "00-01-01",
        "0-1-1",
        "100-01-01",
        "Januar 8 1999",
        "nonsense",
    ];
    let mut inputs = varied(&written, "0123456789-/.: TZ+BC", 500, random);
    for _ in 0..150 {
        let (y, m, d) = (1 + random.below(2400), 1 + random.below(12), 1 + random.below(29));
        let (h, i, s, f) = (
            random.below(24),
            random.below(60),
            random.below(60),
            random.below(1_000_000),
        );
        let text = match random.below(8) {
            0 => format!("{y:04}-{m:02}-{d:02}"),
            1 => format!("{y:04}-{m:02}-{d:02} {h:02}:{i:02}:{s:02}.{f:06}"),
            2 => format!("{y:04}-{m:02}-{d:02}T{h:02}:{i:02}:{s:02}.{f:06}+{:02}:30", h % 14),
            3 => format!("{d:02}/{m:02}/{y:04} {h:02}:{i:02}"),
            4 => format!("{m:02}/{d:02}/{y:04}"),
            5 => format!("{d:02}.{m:02}.{y:04} {h:02}:{i:02}:{s:02} BC"),
            6 => format!("{y:04}{m:02}{d:02}T{h:02}{i:02}{s:02}"),
            _ => format!("{m:02}-{d:02}-{y:04}"),
        };
        inputs.push(text.into_bytes());
    }
    inputs
}

pub fn documents(random: &mut Random) -> Vec<Vec<u8>> {
    let written = [
        "null",
        "true",
        " false ",
        "0",
        "-0",
        "-0.0",
        "1.50",
        "1e5",
        "1E+5",
        "1.5e-3",
        "12345678901234567890.5",
        "1e200000",
        "\"\"",
        "\"a\"",
        "\"\\u0041\\n\\t\\\\\\/\\\"\\b\\f\\r\"",
        "\"\\u0000\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\"",
        "\"\\ude00\"",
        "\"\\ud83dx\"",
        "\"\\u001f\"",
        "\"\\u12\"",
        "\"\\x\"",
        "\"홍길동 😀\"",
        "\"tab\there\"",
        "\"\u{7f}\"",
        "[]",
        "{}",
        "[1, 2,3 ]",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\":1}",
        "{\"b\":1,\"a\":2,\"aa\":3,\"\":4}",
        "{\"a\":1,\"a\":2,\"b\":{\"c\":[{},[],null]}}",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "{\"a\":1,}",
        "{1:2}",
        "{\"\\u0061\":1,\"a\":2}",
        "",
        " ",
        "nul",
        "nulll",
        "True",
        "01",
        "-",
        "+1",
        ".5",
        "1.",
        "1.e5",
        "1e",
        "NaN",
        "Infinity",
        "'a'",
        "[",
        "]",
        "{",
        "\"",
        "[[[[1]]]]",
        "{\"a\":{\"b\":{\"c\":1}}}",
        "1 2",
        "\u{feff}1",
        "[1]x",
        "[true,false,null]",
        "{\"홍\":1,\"길동\":2,\"a\":3}",
        "1_000",
        "1é",
        "nullé",
    ];
    let mut inputs = varied(&written, "{}[]\":,019.eE+-\\u tnaé", 2500, random);
    inputs.push(format!("{}1{}", "[".repeat(900), "]".repeat(900)).into_bytes());
    inputs
}
