-- Takes a start and an end, six numbers each. Gives the titles of the events that
-- overlap with that time, a record each, without those that last all day, such as birthdays.
on run argv
	set theStart to my dateFrom(items 1 thru 6 of argv)
	set theEnd to my dateFrom(items 7 thru 12 of argv)
	set theTitles to {}
	tell application "Calendar"
		repeat with oneCalendar in calendars
			tell oneCalendar
				set found to summary of (events whose allday event is false and start date < theEnd and end date > theStart)
				set theTitles to theTitles & found
			end tell
		end repeat
	end tell
	set theRecords to {}
	repeat with oneTitle in theTitles
		set end of theRecords to my asRecord({contents of oneTitle})
	end repeat
	return my joined(theRecords, character id 30)
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

on asRecord(theValues)
	-- Fields separated by character 31; no value holds a separator of its own.
	set theFields to {}
	repeat with oneValue in theValues
		set end of theFields to my cleaned(contents of oneValue)
	end repeat
	return my joined(theFields, character id 31)
end asRecord

on cleaned(theValue)
	if theValue is missing value then return ""
	set AppleScript's text item delimiters to {character id 30, character id 31}
	set theParts to text items of (theValue as text)
	return my joined(theParts, space)
end cleaned

on joined(theParts, theDelimiter)
	set AppleScript's text item delimiters to theDelimiter
	set theText to theParts as text
	set AppleScript's text item delimiters to ""
	return theText
end joined
