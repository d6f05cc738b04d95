package access

import rego.v1

default granted := false

granted if {
	usable
	not denied
	allowed
}

credential := data.credentials[input.token]

person := data.people[credential.person]

usable if {
	credential.active
	credential.from <= input.at
	input.at < credential.until
	person.from <= input.at
	input.at < person.until
}

# By door and by who: the schedules of the rules that apply. Who is a group or a person.
denied if {
	some who in person.is
	some schedule in data.deny[input.door][who]
	holds(schedule)
}

allowed if {
	some who in person.is
	some schedule in data.allow[input.door][who]
	holds(schedule)
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
