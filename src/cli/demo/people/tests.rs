use super::*;
use std::collections::HashSet;

#[test]
fn the_same_people_each_time_and_each_address_once() {
    let all: Vec<Person> = people(10_000).collect();
    assert_eq!(all, people(10_000).collect::<Vec<_>>());
    assert_eq!(all.iter().map(|p| &p.email).collect::<HashSet<_>>().len(), 10_000);
    assert_eq!(all.first().map(|p| p.id), Some(1));
    let korean = all.iter().filter(|p| p.country == "KR").count();
    assert!((6_000..8_000).contains(&korean), "{korean} of 10,000 in Korea");
}

#[test]
fn fewer_are_the_first_of_more() {
    assert_eq!(
        people(10).collect::<Vec<_>>(),
        people(1_000).take(10).collect::<Vec<_>>()
    );
}
