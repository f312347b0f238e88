-- Takes "new", "reply" or "forward", the selected message's id (or ""), subject (of a new one), text, and three
-- counted lists: recipients (Mail adds a reply's own), copies, paths of files.
-- "without opening window" is needed: in a window, Mail ignores a text that is set.
on run argv
	set {theKind, wantedId, theSubject, theText} to items 1 thru 4 of argv
	set theRecipients to my counted(argv, 5)
	set theCopies to my counted(argv, 6 + (count of theRecipients))
	set theFiles to my aliases(my counted(argv, 7 + (count of theRecipients) + (count of theCopies)))
	if theText is "" then set theText to linefeed
	tell application "Mail"
		if theKind is "new" then
			set theProperties to {subject:theSubject, content:theText, visible:false}
			set theMail to make new outgoing message with properties theProperties
		else
			set theMessage to item 1 of (get selection)
			if ((id of theMessage) as text) is not wantedId then error "another message has been selected meanwhile"
			if theKind is "reply" then
				set theMail to reply theMessage without opening window
			else
				set theMail to forward theMessage without opening window
			end if
			set content of theMail to theText
		end if
		tell theMail
			repeat with oneAddress in theRecipients
				make new to recipient at end of to recipients with properties {address:(contents of oneAddress)}
			end repeat
			repeat with oneAddress in theCopies
				make new cc recipient at end of cc recipients with properties {address:(contents of oneAddress)}
			end repeat
		end tell
		repeat with oneFile in theFiles
			tell content of theMail
				make new attachment with properties {file name:(contents of oneFile)} at after last paragraph
			end tell
		end repeat
		if theFiles is not {} then delay 1 -- Mail takes a file in after the command has ended
		if (send theMail) is false then error "the message was not sent"
	end tell
	return ""
end run

on counted(theArguments, position)
	-- The list that begins at this position: how many, then each of them.
	set howMany to (item position of theArguments) as integer
	if howMany is 0 then return {}
	return items (position + 1) thru (position + howMany) of theArguments
end counted

on aliases(thePaths)
	set theFiles to {}
	repeat with onePath in thePaths
		set end of theFiles to (POSIX file (contents of onePath)) as alias
	end repeat
	return theFiles
end aliases
