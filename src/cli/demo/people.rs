//! Ten thousand people who don't exist: the same ones each time, with names, addresses and numbers of the shapes that real ones have.
//!
//! E-mail addresses are in domains reserved for examples (RFC 2606), IP addresses in blocks reserved for documentation (RFC 5737).

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Primary key, from 1.
    pub id: i32,
    /// Unique.
    pub email: String,
    /// As in his country.
    pub name: String,
    /// Mobile phone.
    pub phone: String,
    /// Employer.
    pub organisation: String,
    /// ISO 3166 code.
    pub country: &'static str,
    /// As in his country.
    pub postal_code: String,
    /// Birth date.
    pub birth: jiff::civil::Date,
    /// Address of the last access.
    pub access_ip: String,
}

/// Surnames with their share of Korea's people in per mille, and how they are written in e-mail addresses.
const SURNAMES: [(&str, &str, u32); 20] = [
    ("김", "kim", 215),
    ("이", "lee", 147),
    ("박", "park", 84),
    ("최", "choi", 47),
    ("정", "jung", 43),
    ("강", "kang", 24),
    ("조", "cho", 21),
    ("윤", "yoon", 21),
    ("장", "jang", 20),
    ("임", "lim", 17),
    ("한", "han", 15),
    ("오", "oh", 15),
    ("서", "seo", 15),
    ("신", "shin", 15),
    ("권", "kwon", 14),
    ("황", "hwang", 14),
    ("안", "ahn", 14),
    ("송", "song", 14),
    ("류", "ryu", 12),
    ("홍", "hong", 11),
];

const SYLLABLES: [(&str, &str); 24] = [
    ("민", "min"),
    ("서", "seo"),
    ("지", "ji"),
    ("준", "jun"),
    ("현", "hyun"),
    ("우", "woo"),
    ("은", "eun"),
    ("수", "soo"),
    ("영", "young"),
    ("하", "ha"),
    ("윤", "yun"),
    ("도", "do"),
    ("예", "ye"),
    ("진", "jin"),
    ("연", "yeon"),
    ("호", "ho"),
    ("아", "ah"),
    ("성", "sung"),
    ("재", "jae"),
    ("희", "hee"),
    ("경", "kyung"),
    ("혜", "hye"),
    ("동", "dong"),
    ("선", "sun"),
];

/// Country, calling code, first names, surnames, form of the postal code (`9` a digit, `A` a letter).
type Country = (
    &'static str,
    &'static str,
    [&'static str; 6],
    [&'static str; 6],
    &'static str,
);

const COUNTRIES: [Country; 8] = [
    (
        "DE",
        "+49 151",
        ["Jürgen", "Lena", "Björn", "Sophie", "Matthias", "Katrin"],
        ["Müller", "Schäfer", "Weiß", "Krüger", "Bauer", "von der Heide"],
        "99999",
    ),
    (
        "FR",
        "+33 6",
        ["Chloé", "Théo", "Inès", "François", "Zoë", "Jean-Luc"],
        ["Lefèvre", "Dubois", "Garçon", "d'Aubigné", "Moreau", "Petit"],
        "99999",
    ),
    (
        "GB",
        "+44 7700",
        ["Oliver", "Amelia", "Siobhán", "Harry", "Priya", "Imogen"],
        ["Smith", "O'Neill", "Featherstone", "Patel", "MacLeod", "Ng"],
        "AA9 9AA",
    ),
    (
        "US",
        "+1 555",
        ["Emma", "Liam", "José", "Aaliyah", "Noah", "Mary Ann"],
        ["Johnson", "García", "Nguyen", "Williams", "St. John", "Begaye"],
        "99999-9999",
    ),
    (
        "JP",
        "+81 90",
        ["さくら", "陽翔", "美咲", "蓮", "結衣", "大輝"],
        ["佐藤", "鈴木", "高橋", "田中", "渡辺", "伊藤"],
        "999-9999",
    ),
    (
        "PL",
        "+48 601",
        ["Łukasz", "Małgorzata", "Paweł", "Zofia", "Grażyna", "Stanisław"],
        ["Wójcik", "Kowalczyk", "Dąbrowska", "Żak", "Nowak", "Łoś"],
        "99-999",
    ),
    (
        "VN",
        "+84 90",
        ["Thị Mai", "Văn Hùng", "Ngọc Ánh", "Đức", "Phương", "Quốc Bảo"],
        ["Nguyễn", "Trần", "Lê", "Phạm", "Huỳnh", "Đặng"],
        "999999",
    ),
    (
        "TR",
        "+90 532",
        ["Ayşe", "Çağlar", "Işıl", "Ömer", "Gül", "İbrahim"],
        ["Yılmaz", "Şahin", "Öztürk", "Çelik", "Doğan", "Güneş"],
        "99999",
    ),
];

const ORGANISATIONS: [&str; 12] = [
    "한빛상사",
    "Hangang Logistics",
    "새벽출판사",
    "Nordlicht GmbH",
    "Atelier Clémentine",
    "Baekdu Foods",
    "Harbour & Sons Ltd",
    "미래고등학교",
    "Riverside Clinic",
    "다온소프트",
    "桜商店",
    "—",
];

/// The people with ids 1 to `count`.
pub fn people(count: usize) -> impl Iterator<Item = Person> {
    let mut rng = StdRng::seed_from_u64(0x7067_7761_7264);
    (1..).take(count).map(move |id| person(&mut rng, id))
}

fn person(rng: &mut StdRng, id: i32) -> Person {
    let birth = jiff::civil::date(
        rng.random_range(1940..2008),
        rng.random_range(1..13),
        rng.random_range(1..29),
    );
    let organisation = pick(rng, &ORGANISATIONS).to_owned();
    let access_ip = format!(
        "{}.{}",
        pick(rng, &["192.0.2", "198.51.100", "203.0.113"]),
        rng.random_range(1..255)
    );
    let (name, ascii, country, phone, postal_code) = if rng.random_bool(0.7) { korean(rng) } else { other(rng) };
    let domain = pick(rng, &["example.com", "example.org", "example.net", "mail.example.com"]);
    // The id keeps addresses unique, as a mail provider's numbering does.
    let email = format!("{ascii}{id}@{domain}");
    Person {
        id,
        email,
        name,
        phone,
        organisation,
        country,
        postal_code,
        birth,
        access_ip,
    }
}

type Identity = (String, String, &'static str, String, String);

fn korean(rng: &mut StdRng) -> Identity {
    let total: u32 = SURNAMES.iter().map(|(.., weight)| weight).sum();
    let mut at = rng.random_range(0..total);
    let mut surname = ("김", "kim");
    for (hangul, roman, weight) in SURNAMES {
        if at < weight {
            surname = (hangul, roman);
            break;
        }
        at -= weight;
    }
    let (first, second) = (pick(rng, &SYLLABLES), pick(rng, &SYLLABLES));
    let phone = format!(
        "010-{:04}-{:04}",
        rng.random_range(2000..10_000),
        rng.random_range(0..10_000)
    );
    (
        format!("{}{}{}", surname.0, first.0, second.0),
        format!("{}{}.{}", first.1, second.1, surname.1),
        "KR",
        phone,
        format!("{:05}", rng.random_range(1000..63_650)),
    )
}

fn other(rng: &mut StdRng) -> Identity {
    let (country, calling, first, last, postal) = pick(rng, &COUNTRIES);
    let (first, last) = (pick(rng, &first), pick(rng, &last));
    let name = match country {
        "JP" | "VN" => format!("{last} {first}"),
        _ => format!("{first} {last}"),
    };
    let ascii: String = name
        .chars()
        .filter(char::is_ascii_alphabetic)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let postal = postal
        .chars()
        .map(|c| match c {
            '9' => char::from(b'0' + rng.random_range(0..10)),
            'A' => char::from(b'A' + rng.random_range(0..26)),
            other => other,
        })
        .collect();
    (
        name,
        format!("{ascii}."),
        country,
        format!("{calling} {:07}", rng.random_range(0..10_000_000)),
        postal,
    )
}

fn pick<T: Copy>(rng: &mut StdRng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())]
}

#[cfg(test)]
mod tests;
