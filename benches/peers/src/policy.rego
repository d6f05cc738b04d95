package access

import rego.v1

default granted := false

granted if {
	usable(input.token)
	not denied(person)
	some who in person.is
	some rule in data.allow[input.door][who]
	satisfied(rule.asks)
	holds(rule.schedule)
}

credential := data.credentials[input.token]

person := data.people[credential.person]

usable(token) if {
	presented := data.credentials[token]
	presented.active
	presented.from <= input.at
	input.at < presented.until
	holder := data.people[presented.person]
	holder.from <= input.at
	input.at < holder.until
	not left_out(holder)
}

left_out(holder) if {
	input.stale
	not holder.critical
}

# By door and by who: the rules that apply. Who is a group or a person.
denied(holder) if {
	some who in holder.is
	some rule in data.deny[input.door][who]
	holds(rule.schedule)
}

satisfied(asks) if {
	asks in ["card", "card_or_pin"]
	credential.card
}

satisfied(asks) if {
	asks in ["pin", "card_or_pin"]
	not credential.card
}

satisfied(asks) if {
	asks == "card_and_pin"
	credential.card
	input.pin in person.pins
}

satisfied(asks) if {
	asks == "two_person"
	credential.card
	came_before
}

# Somebody else, who would be let in here as one of two.
came_before if {
	other := data.credentials[input.companion]
	other.person != credential.person
	other.card
	usable(input.companion)
	companion := data.people[other.person]
	not denied(companion)
	some who in companion.is
	some rule in data.allow[input.door][who]
	rule.asks == "two_person"
	holds(rule.schedule)
}

holds(schedule) if schedule == "always"

holds(schedule) if on_day(data.schedules[schedule], input.today, input.ms)

holds(schedule) if on_day(data.schedules[schedule], input.yesterday, input.ms + 86400000)

on_day(schedule, day, ms) if {
	some span in usual(schedule, day)
	span[0] <= ms
	ms < span[1]
}

on_day(schedule, day, ms) if {
	some single in schedule.dates
	single.date == day.date
	single.from <= ms
	ms < single.to
}

# Of several holidays on one day, the first that is listed decides.
usual(schedule, day) := schedule.weekly[day.weekday] if count(replaced(schedule, day)) == 0

usual(schedule, day) := schedule.holidays[replaced(schedule, day)[0]].spans if count(replaced(schedule, day)) > 0

replaced(schedule, day) := [place |
	some place, instead in schedule.holidays
	falls(data.holidays[instead.holiday], day)
]

falls(holiday, day) if day.date in holiday.dates

falls(holiday, day) if day.month_day in holiday.yearly
