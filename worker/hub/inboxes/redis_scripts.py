"""The Lua scripts of the shared inbox: each runs in Redis as one atomic step.

Each user has a hash (`epoch`, `seq`, `read`) and a stream whose entries are numbered by `seq`. The scripts build their
keys from the arguments, so they work with one Redis, not with a cluster.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_HEAD: Final = re.compile(rb"([0-9]{1,9}) (-1|[0-9]{1,18}) ([!-~]{1,64}) ([0-9]{1,9})\n")
_SIGNS_OF_DAMAGE: Final = (
    "damaged inbox",
    "WRONGTYPE",
    "attempt to",
    "not an integer",
    "specified in XADD",
    "exhausted the last possible ID",
    "Invalid stream ID",
)
"""What is in the errors over what a script finds under a user's keys; others are about the state of Redis."""

# A user's damage must not stop a script that writes for many: `damage_of` returns it and raises everything else.
_DAMAGE: Final = f"""
local signs = {{ {", ".join(f"'{sign}'" for sign in _SIGNS_OF_DAMAGE)} }}
local function damage_of(fault)
  local text = type(fault) == 'table' and fault.err or tostring(fault)
  for _, sign in ipairs(signs) do
    if string.find(text, sign, 1, true) then return text end
  end
  error(fault)
end
"""
# All scripts must find the same damage: an inbox that is written and never read loses what is acknowledged.
_POSITION: Final = """
local function number_of(found, name)
  local number = tonumber(found)
  -- Hubs could not read others, and above 2^53 the next number is the same.
  if number and number >= 0 and number < 2 ^ 53 - 1 and number % 1 == 0 then return number end
  error('damaged inbox: ' .. name .. ' is not a number', 0)
end
local function position_of(key)
  local at = redis.call('HMGET', key, 'seq', 'read')
  return number_of(at[1], 'seq'), number_of(at[2] or 0, 'read')
end
"""
_USER: Final = """
local prefix, seed = ARGV[1], ARGV[2]
local function new_epoch(user) return string.sub(redis.sha1hex(seed .. user), 1, 12) end
local function epoch_of(user)
  local key = prefix .. 'u:' .. user
  local epoch = redis.call('HGET', key, 'epoch')
  if not epoch then
    epoch = new_epoch(user)
    redis.call('HSET', key, 'epoch', epoch, 'seq', 0, 'read', 0)
    redis.call('DEL', prefix .. 'm:' .. user)
  end
  return epoch
end
"""

APPEND: Final = (
    _DAMAGE
    + _POSITION
    + _USER
    + """
-- ARGV: prefix, seed, messages kept, seconds kept, seconds a user is kept,
-- then for each message: user, id or '', redelivery, '1' if volatile, body.
-- Returns for each its seq, 0 for a repetition, -1 if it is not stored, text if the user's inbox is damaged;
-- one PUBLISH sends all to all hubs.
local answers, published = {}, {}
local function is_new(id, redelivery)
  if id == '' then return true end
  -- A key of another type says nothing, and is replaced below.
  local before = redis.pcall('GET', prefix .. 's:' .. id)
  before = type(before) == 'string' and tonumber(before)
  return not before or before < tonumber(redelivery)
end
local function publish(user, seq, epoch, body)
  published[#published + 1] = string.format('%d %.0f %s %d\\n', #user, seq, epoch, #body) .. user .. body
end
local function stored(user, body)
  local epoch, key, messages = epoch_of(user), prefix .. 'u:' .. user, prefix .. 'm:' .. user
  local seq = position_of(key) + 1
  -- Other hubs could not read it, nor what is published together with it.
  if #epoch > 64 or not string.match(epoch, '^[!-~]+$') then error('damaged inbox: epoch is not a word', 0) end
  -- First what can fail, so that a message that is not stored changes nothing.
  redis.call('XADD', messages, 'MAXLEN', '~', ARGV[3], string.format('%.0f-0', seq), 'b', body)
  redis.call('HSET', key, 'seq', string.format('%.0f', seq))
  redis.call('EXPIRE', messages, ARGV[4])
  redis.call('EXPIRE', key, ARGV[5])
  publish(user, seq, epoch, body)
  return seq
end
for i = 6, #ARGV, 5 do
  local user, body, answer = ARGV[i], ARGV[i + 4], 0
  if ARGV[i + 3] == '1' then
    answer = -1
    publish(user, 0, '-', body)
  elseif is_new(ARGV[i + 1], ARGV[i + 2]) then
    local intact, result = pcall(stored, user, body)
    if intact and ARGV[i + 1] ~= '' then
      redis.call('SET', prefix .. 's:' .. ARGV[i + 1], ARGV[i + 2], 'EX', ARGV[4])
    end
    answer = intact and result or damage_of(result)
  end
  answers[#answers + 1] = answer
end
if #published > 0 then redis.call('PUBLISH', prefix .. 'news', table.concat(published)) end
return answers
"""
)

PAGE: Final = (
    _POSITION
    + _USER
    + """
-- ARGV: prefix, seed, user, 'open', 'read' or 'renew', epoch or '', after or '', most messages, most bytes.
-- Returns epoch, seq, 1 if recovered, then for each message: seq, body.
local user, mode = ARGV[3], ARGV[4]
local epoch = epoch_of(user)
local key, messages = prefix .. 'u:' .. user, prefix .. 'm:' .. user
local seq, read = position_of(key)
local resume = tonumber(ARGV[6])
if ARGV[5] == epoch and (mode == 'renew' or resume and resume > seq) then
  -- Redis lost writes and gives numbers again: positions of this epoch are void at all hubs and clients. The read
  -- position may be one of them, so everything that is left counts as unread.
  epoch, read = new_epoch(user), 0
  redis.call('HSET', key, 'epoch', epoch, 'read', read)
end
local after, recovered = read, 0
if ARGV[5] == epoch and resume and resume <= seq then
  after, recovered = resume, 1
  if mode == 'open' then
    local oldest = redis.call('XRANGE', messages, '-', '+', 'COUNT', 1)[1]
    oldest = oldest and tonumber(string.match(oldest[1], '^%d+')) or seq + 1
    if resume < oldest - 1 then recovered = 0 end
    if resume > read then redis.call('HSET', key, 'read', ARGV[6]) end
  end
end
local found = { epoch, seq, recovered }
local size = 0
if after < seq then
  -- Hubs use the second part 0 alone: entries with another one have a number that was given already.
  local start = string.format('%.0f-0', after + 1)
  -- A number above seq would look as if seq had gone back.
  local last = string.format('%.0f', seq)
  for _, entry in ipairs(redis.call('XRANGE', messages, start, last, 'COUNT', ARGV[7])) do
    local body = entry[2][2]
    found[#found + 1] = tonumber(string.match(entry[1], '^%d+'))
    found[#found + 1] = body
    size = size + #body
    if size >= tonumber(ARGV[8]) then break end
  end
end
return found
"""
)

MARK: Final = (
    _DAMAGE
    + _POSITION
    + """
-- ARGV: prefix, then for each user: user, epoch, seq that was read.
-- Returns for each user whose inbox is damaged: user, text.
local damaged = {}
local function mark(user, epoch, seq)
  local key = ARGV[1] .. 'u:' .. user
  -- In another epoch the number is another message's.
  if redis.call('HGET', key, 'epoch') ~= epoch then return end
  local newest, before = position_of(key)
  local read = tonumber(seq)
  if read > before and read <= newest then redis.call('HSET', key, 'read', seq) end
end
for i = 2, #ARGV, 3 do
  local intact, fault = pcall(mark, ARGV[i], ARGV[i + 1], ARGV[i + 2])
  if not intact then
    damaged[#damaged + 1] = ARGV[i]
    damaged[#damaged + 1] = damage_of(fault)
  end
end
return damaged
"""
)


def is_about_content(error: Exception) -> bool:
    """Return whether a script failed over what it found under a user's keys, not over the state of Redis."""
    return any(sign in str(error) for sign in _SIGNS_OF_DAMAGE)


@dataclass(frozen=True, slots=True)
class InboxPublication:
    """One message that a script published to all hubs."""

    user: str
    seq: int
    """0: volatile; -1: `user` is a revoked token's id."""
    epoch: str
    body: bytes


def decode_publication(publication: bytes) -> Iterator[InboxPublication]:
    """Yield the messages of one publication: `user-size seq epoch body-size\\n`, the user, the body, and so on.

    ValueError: it is not one of ours. Sizes are checked, since a negative one would be read again and again.
    """
    at = 0
    while at < len(publication):
        head = _HEAD.match(publication, at)
        if head is None:
            raise ValueError("a publication that no hub sent")
        user_size, seq, epoch, body_size = head.groups()
        body_at = head.end() + int(user_size)
        at = body_at + int(body_size)
        if at > len(publication):
            raise ValueError("a publication that ends within a message")
        user, body = publication[head.end() : body_at].decode(), publication[body_at:at]
        yield InboxPublication(user, int(seq), epoch.decode(), body)
