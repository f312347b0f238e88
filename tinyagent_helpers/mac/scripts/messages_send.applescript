-- Takes a message and counted phone numbers; each gets it by iMessage or else, through the user's iPhone, by SMS.
on run argv
	set theMessage to item 1 of argv
	set theSent to 0
	repeat with oneNumber in my counted(argv, 2)
		try
			my sendTo(contents of oneNumber, theMessage)
		on error theWords number theCode
			set theDetails to " (to " & (contents of oneNumber) & "; sent before that: " & theSent & ")"
			error theWords & theDetails number theCode
		end try
		set theSent to theSent + 1
	end repeat
	return ""
end run

on sendTo(theNumber, theMessage)
	tell application "Messages"
		try
			send theMessage to participant theNumber of (first account whose service type = iMessage)
		on error
			send theMessage to participant theNumber of (first account whose service type = SMS)
		end try
	end tell
end sendTo

on counted(theArguments, position)
	-- The list that begins at this position: how many, then each of them.
	set howMany to (item position of theArguments) as integer
	if howMany is 0 then return {}
	return items (position + 1) thru (position + howMany) of theArguments
end counted
