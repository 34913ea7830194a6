"""The Lua scripts of the shared inbox: each runs in Redis as one atomic step.

Each user has a hash (`epoch`, `seq`, `read`) and a stream whose entries are numbered by `seq`. The scripts build their
keys from the arguments, so they work with one Redis, not with a cluster.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_HEAD: Final = re.compile(rb"([0-9]{1,9}) (-1|[0-9]{1,18}) ([!-~]{1,64}) ([0-9]{1,9})\n")
_USER: Final = """
local prefix, seed = ARGV[1], ARGV[2]
local function epoch_of(user)
  local key = prefix .. 'u:' .. user
  local epoch = redis.call('HGET', key, 'epoch')
  if not epoch then
    epoch = string.sub(redis.sha1hex(seed .. user), 1, 12)
    redis.call('HSET', key, 'epoch', epoch, 'seq', 0, 'read', 0)
    redis.call('DEL', prefix .. 'm:' .. user)
  end
  return epoch
end
"""

APPEND: Final = (
    _USER
    + """
-- ARGV: prefix, seed, messages kept, seconds kept, seconds a user is kept,
-- then for each message: user, id or '', redelivery, '1' if volatile, body.
-- Returns for each its seq, 0 for a repetition, -1 if it is not stored; one PUBLISH sends all to all hubs.
local answers, published = {}, {}
local function is_new(id, redelivery)
  if id == '' then return true end
  local before = redis.call('GET', prefix .. 's:' .. id)
  if before and tonumber(before) >= tonumber(redelivery) then return false end
  redis.call('SET', prefix .. 's:' .. id, redelivery, 'EX', ARGV[4])
  return true
end
local function publish(user, seq, epoch, body)
  published[#published + 1] = string.format('%d %d %s %d\\n', #user, seq, epoch, #body) .. user .. body
end
for i = 6, #ARGV, 5 do
  local user, body, answer = ARGV[i], ARGV[i + 4], 0
  if ARGV[i + 3] == '1' then
    answer = -1
    publish(user, 0, '-', body)
  elseif is_new(ARGV[i + 1], ARGV[i + 2]) then
    local epoch = epoch_of(user)
    local messages = prefix .. 'm:' .. user
    answer = redis.call('HINCRBY', prefix .. 'u:' .. user, 'seq', 1)
    redis.call('XADD', messages, 'MAXLEN', '~', ARGV[3], answer .. '-0', 'b', body)
    redis.call('EXPIRE', messages, ARGV[4])
    redis.call('EXPIRE', prefix .. 'u:' .. user, ARGV[5])
    publish(user, answer, epoch, body)
  end
  answers[#answers + 1] = answer
end
if #published > 0 then redis.call('PUBLISH', prefix .. 'news', table.concat(published)) end
return answers
"""
)

PAGE: Final = (
    _USER
    + """
-- ARGV: prefix, seed, user, 'open' or 'read', epoch or '', after or '', most messages, most bytes.
-- Returns epoch, seq, 1 if recovered, then for each message: seq, body.
local user, mode = ARGV[3], ARGV[4]
local epoch = epoch_of(user)
local key, messages = prefix .. 'u:' .. user, prefix .. 'm:' .. user
local seq, read = tonumber(redis.call('HGET', key, 'seq')), tonumber(redis.call('HGET', key, 'read'))
local resume = tonumber(ARGV[6])
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
  for _, entry in ipairs(redis.call('XRANGE', messages, start, '+', 'COUNT', ARGV[7])) do
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

MARK: Final = """
-- ARGV: prefix, then for each user: user, seq that was read.
for i = 2, #ARGV, 2 do
  local key = ARGV[1] .. 'u:' .. ARGV[i]
  local at = redis.call('HMGET', key, 'seq', 'read')
  local read = tonumber(ARGV[i + 1])
  if at[1] and read > tonumber(at[2]) and read <= tonumber(at[1]) then redis.call('HSET', key, 'read', ARGV[i + 1]) end
end
return redis.status_reply('OK')
"""


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
