-- Takes name, notes, list (or ""), priority, and "", "day" or "time"; a day and a time are followed by six numbers.
on run argv
	set {theName, theNotes, listName} to items 1 thru 3 of argv
	set thePriority to (item 4 of argv) as integer
	set dueKind to item 5 of argv
	if dueKind is not "" then set dueDate to my dateFrom(items 6 thru 11 of argv)
	tell application "Reminders"
		if listName is "" then
			set theList to default list
		else
			set theList to list listName
		end if
		set theProperties to {name:theName, body:theNotes, priority:thePriority}
		if dueKind is "day" then set theProperties to theProperties & {allday due date:dueDate}
		if dueKind is "time" then set theProperties to theProperties & {due date:dueDate, remind me date:dueDate}
		make new reminder at end of reminders of theList with properties theProperties
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
