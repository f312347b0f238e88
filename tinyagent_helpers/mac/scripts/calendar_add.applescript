-- Takes title, location, notes, calendar (or ""), start and end (six numbers each), and counted e-mail addresses.
on run argv
	set {theTitle, theLocation, theNotes, calendarName} to items 1 thru 4 of argv
	set startDate to my dateFrom(items 5 thru 10 of argv)
	set endDate to my dateFrom(items 11 thru 16 of argv)
	set theAddresses to my counted(argv, 17)
	tell application "Calendar"
		if calendarName is "" then
			set theCalendar to first calendar whose writable is true
		else
			set theCalendar to first calendar whose name is calendarName
		end if
		set theProperties to {summary:theTitle, start date:startDate, end date:endDate, location:theLocation}
		set theEvent to make new event at end of events of theCalendar with properties theProperties
		set description of theEvent to theNotes
		try
			repeat with oneAddress in theAddresses
				make new attendee at end of attendees of theEvent with properties {email:(contents of oneAddress)}
			end repeat
		on error theWords number theCode
			delete theEvent
			error theWords number theCode
		end try
	end tell
	return ""
end run

on dateFrom(theNumbers)
	-- Year, month, day, hour, minute, second; field by field, so that no language or format of dates matters.
	set theDate to current date
	set day of theDate to 1
	set year of theDate to (item 1 of theNumbers) as integer
	set month of theDate to (item 2 of theNumbers) as integer
	set day of theDate to (item 3 of theNumbers) as integer
	set theHours to (item 4 of theNumbers) as integer
	set theMinutes to (item 5 of theNumbers) as integer
	set time of theDate to theHours * 3600 + theMinutes * 60 + ((item 6 of theNumbers) as integer)
	return theDate
end dateFrom

on counted(theArguments, position)
	-- The list that begins at this position: how many, then each of them.
	set howMany to (item position of theArguments) as integer
	if howMany is 0 then return {}
	return items (position + 1) thru (position + howMany) of theArguments
end counted
