-- Takes a contact's id. Gives one record: the first phone number, the first e-mail address.
on run argv
	set thePhone to ""
	set theEmail to ""
	tell application "Contacts"
		set thePerson to person id (item 1 of argv)
		if (count of phones of thePerson) > 0 then set thePhone to value of first phone of thePerson
		if (count of emails of thePerson) > 0 then set theEmail to value of first email of thePerson
	end tell
	return my asRecord({thePhone, theEmail})
end run

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
