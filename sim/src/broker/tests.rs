use super::hub::topic_matches;

#[test]
fn topics_match_filters_as_mqtt_says() {
    for (topic, filter, expected) in [
        ("a/b", "a/b", true),
        ("a/b", "a/+", true),
        ("a/b", "#", true),
        ("a", "a/#", true),
        ("a/b/c", "a/#", true),
        ("a/b", "a", false),
        ("a", "a/+", false),
        ("$SYS/x", "#", false),
        ("ä/b", "+/b", true),
    ] {
        assert_eq!(topic_matches(topic, filter), expected, "{topic} {filter}");
    }
}
